package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Comparisons of VCMPPS. None but unordered is true of a NaN.
const (
	unordered = 3 // with itself: a NaN
	ordered   = 7
	less      = 17
	greater   = 30
)

// compare returns a mask of the values of x that a comparison with y finds true:
// a register of AVX-512's masks, or a vector of all ones and none.
func (s set) compare(how uint8, x reg.VecVirtual, y Op) reg.Register {
	if s.wide() {
		k := K()
		VCMPPS(U8(how), y, x, k)
		return k
	}
	mask := s.vector()
	VCMPPS(U8(how), y, x, mask)
	return mask
}

// blend replaces the values of to that mask holds by those of x.
func (s set) blend(mask reg.Register, x, to reg.VecVirtual) {
	if s.wide() {
		VBLENDMPS(x, to, mask, to)
		return
	}
	VBLENDVPS(mask, x, to, to)
}

// ones makes v all ones.
func (s set) ones(v reg.VecVirtual) {
	if s.wide() {
		VPTERNLOGD(U8(255), v, v, v)
		return
	}
	VPCMPEQD(v, v, v)
}

// broadcast writes x's lower half to all of to's values.
func (s set) broadcast(x reg.GPVirtual, to reg.VecVirtual) {
	low := XMM()
	VMOVD(x.As32(), low)
	VPBROADCASTD(low, to)
}
