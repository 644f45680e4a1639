package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// What the two sets call differently, for vectors of 32-bit words.

// constant writes word to each element of to.
func (s set) constant(word uint32, to reg.VecVirtual) {
	r, x := GP32(), XMM()
	MOVL(U32(word), r)
	VMOVD(r, x)
	VPBROADCASTD(x, to)
}

// move copies from to to.
func (s set) move(from, to reg.VecVirtual) {
	if s.wide() {
		VMOVDQA32(from, to)
		return
	}
	VMOVDQA(from, to)
}

// loadWords reads a vector.
func (s set) loadWords(from Mem, to reg.VecVirtual) {
	if s.wide() {
		VMOVDQU32(from, to)
		return
	}
	VMOVDQU(from, to)
}

// and leaves in to the bits that x has too.
func (s set) and(x, to reg.VecVirtual) {
	if s.wide() {
		VPANDD(x, to, to)
		return
	}
	VPAND(x, to, to)
}

// xor3 computes to ^= x ^ y.
func (s set) xor3(x, y, to reg.VecVirtual) {
	if s.wide() {
		const parity = 0x96
		VPTERNLOGD(U8(parity), x, y, to)
		return
	}
	VPXOR(x, to, to)
	VPXOR(y, to, to)
}
