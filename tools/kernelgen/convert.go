package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Where a narrower array goes with one of float32s, its pointer is moved on by
// itself: the index counts the bytes of the float32s.

func toBfloat16(v set) {
	var dst, x reg.GPVirtual
	var half, one, quiet reg.VecVirtual
	elementwise(v, "toBfloat16", "func(dst *uint16, x *float32, count int)", "is ToBfloat16", func() {
		dst, x = argument("dst"), argument("x")
		half, one, quiet = v.vector(), v.vector(), v.vector()
		v.constant(0x7fff, half)
		v.constant(1, one)
		v.constant(0x40, quiet)
	}, func(i reg.GPVirtual) {
		from, cut, rounded := v.vector(), v.vector(), v.vector()
		VMOVUPS(element(x, i), from)
		VPSRLD(U8(16), from, cut)
		v.move(cut, rounded)
		v.and(one, rounded)
		VPADDD(half, rounded, rounded)
		VPADDD(from, rounded, rounded)
		VPSRLD(U8(16), rounded, rounded)
		v.or(quiet, cut)
		if v.wide() {
			nan := K()
			VCMPPS(U8(unordered), from, from, nan)
			VPBLENDMD(cut, rounded, nan, rounded)
			VPMOVDW(rounded, Mem{Base: dst})
		} else {
			VCMPPS(U8(unordered), from, from, from)
			VBLENDVPS(from, cut, rounded, rounded)
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
