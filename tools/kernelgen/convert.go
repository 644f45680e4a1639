package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Where a narrower array goes with one of float32s, its pointer is moved on by
// itself: the index counts the bytes of the float32s.

// rounder rounds float32s to bfloat16, as ToBfloat16 does.
type rounder struct {
	set
	half, one, quiet reg.VecVirtual
}

func newRounder(v set) *rounder {
	r := &rounder{v, v.vector(), v.vector(), v.vector()}
	v.constant(0x7fff, r.half)
	v.constant(1, r.one)
	v.constant(0x40, r.quiet)
	return r
}

// round returns words whose lower halves are from's values; their upper halves are 0.
func (r *rounder) round(from reg.VecVirtual) reg.VecVirtual {
	cut, rounded := r.vector(), r.vector()
	VPSRLD(U8(16), from, cut)
	r.move(cut, rounded)
	r.and(r.one, rounded)
	VPADDD(r.half, rounded, rounded)
	VPADDD(from, rounded, rounded)
	VPSRLD(U8(16), rounded, rounded)
	r.or(r.quiet, cut)
	if r.wide() {
		nan := K()
		VCMPPS(U8(unordered), from, from, nan)
		VPBLENDMD(cut, rounded, nan, rounded)
		return rounded
	}
	nan := r.vector()
	VCMPPS(U8(unordered), from, from, nan)
	VBLENDVPS(nan, cut, rounded, rounded)
	return rounded
}

// load rounds the vector at m.
func (r *rounder) load(m Mem) reg.VecVirtual {
	x := r.vector()
	VMOVUPS(m, x)
	return r.round(x)
}

func toBfloat16(v set) {
	var dst, x reg.GPVirtual
	var r *rounder
	elementwise(v, "toBfloat16", "func(dst *uint16, x *float32, count int)", "is ToBfloat16", func() {
		dst, x, r = argument("dst"), argument("x"), newRounder(v)
	}, func(i reg.GPVirtual) {
		rounded := r.load(element(x, i))
		if v.wide() {
			VPMOVDW(rounded, Mem{Base: dst})
		} else {
			VPACKUSDW(rounded, rounded, rounded)
			VPERMQ(U8(0b1000), rounded, rounded) // both halves' words into the lower one
			VMOVDQU(rounded.AsX(), Mem{Base: dst})
		}
		ADDQ(U32(2*v.values), dst)
	}, func() {})
}

func fromBfloat16(v set) {
	var dst, x reg.GPVirtual
	elementwise(v, "fromBfloat16", "func(dst *float32, x *uint16, count int)", "is FromBfloat16", func() {
		dst, x = argument("dst"), argument("x")
	}, func(i reg.GPVirtual) {
		y := v.vector()
		VPMOVZXWD(Mem{Base: x}, y)
		VPSLLD(U8(16), y, y)
		VMOVUPS(y, element(dst, i))
		ADDQ(U32(2*v.values), x)
	}, func() {})
}

// magnitude compares bits: without the sign these rise with the value, from 0 to
// infinity and on to the NaNs.
func magnitude(v set) {
	var x reg.GPVirtual
	var most, absolute reg.VecVirtual
	elementwise(v, "magnitude", "func(x *float32, count int) uint32", "returns the largest bits, without the sign,", func() {
		x, most, absolute = argument("x"), v.vector(), v.vector()
		v.zero(most)
		v.constant(0x7fffffff, absolute)
	}, func(i reg.GPVirtual) {
		y := v.vector()
		VMOVUPS(element(x, i), y)
		v.and(absolute, y)
		VPMAXUD(y, most, most)
	}, func() {
		y, half := most.AsY(), YMM()
		if v.wide() {
			VEXTRACTI64X4(U8(1), most, half)
			VPMAXUD(half, y, y)
		}
		VPERMQ(U8(0b01_00_11_10), y, half)
		VPMAXUD(half, y, y)
		for _, order := range []uint8{0b01_00_11_10, 0b10_11_00_01} { // halves, then neighbours
			VPSHUFD(U8(order), y, half)
			VPMAXUD(half, y, y)
		}
		result := GP32()
		VMOVD(most.AsX(), result)
		Store(result, ReturnIndex(0))
	})
}

func toInt8(v set) {
	var q, x reg.GPVirtual
	var scale, most, least reg.VecVirtual
	elementwise(v, "toInt8", "func(q *int8, x *float32, count int, scale float32)", "divides by scale and rounds, as ToInt8 does,", func() {
		q, x = argument("q"), argument("x")
		scale, most, least = v.vector(), v.vector(), v.vector()
		VBROADCASTSS(parameter("scale"), scale)
		v.constant(127, most)
		v.constant(1<<32-127, least)
	}, func(i reg.GPVirtual) {
		y := v.vector()
		VMOVUPS(element(x, i), y)
		VDIVPS(scale, y, y)
		VCVTPS2DQ(y, y) // to nearest, ties to even
		VPMINSD(most, y, y)
		VPMAXSD(least, y, y)
		if v.wide() {
			VPMOVDB(y, Mem{Base: q})
		} else {
			VPACKSSDW(y, y, y)
			VPERMQ(U8(0b1000), y, y)
			VPACKSSWB(y, y, y)
			VMOVQ(y.AsX(), Mem{Base: q})
		}
		ADDQ(U32(v.values), q)
	}, func() {})
}

func fromInt8(v set) {
	var dst, q reg.GPVirtual
	var scale reg.VecVirtual
	elementwise(v, "fromInt8", "func(dst *float32, q *int8, count int, scale float32)", "multiplies by scale, as FromInt8 does,", func() {
		dst, q, scale = argument("dst"), argument("q"), v.vector()
		VBROADCASTSS(parameter("scale"), scale)
	}, func(i reg.GPVirtual) {
		y := v.vector()
		VPMOVSXBD(Mem{Base: q}, y)
		VCVTDQ2PS(y, y)
		VMULPS(scale, y, y)
		VMOVUPS(y, element(dst, i))
		ADDQ(U32(v.values), q)
	}, func() {})
}
