package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Pairs of bfloat16: 32-bit words whose upper half is the earlier factor.

const (
	upperHalf = 0xffff0000
	// Bits of MXCSR: subnormal operands are taken as zeros, and results flushed.
	daz = 1 << 6
	ftz = 1 << 15
)

func pair(v set) {
	var dst, upper, lower reg.GPVirtual
	var r *rounder
	elementwise(v, "pair", "func(dst, upper, lower *float32, count int)", "is Pair", func() {
		dst, upper, lower, r = argument("dst"), argument("upper"), argument("lower"), newRounder(v)
	}, func(i reg.GPVirtual) {
		x, y := r.load(element(upper, i)), r.load(element(lower, i))
		VPSLLD(U8(16), x, x)
		v.or(y, x)
		VMOVUPS(x, element(dst, i))
	}, func() {})
}

// pairNext takes two values that follow each other as one 64-bit word, whose
// lower half is the earlier: shifted to either side they meet in that half.
func pairNext(v set) {
	var dst, x reg.GPVirtual
	var r *rounder
	elementwise(v, "pairNext", "func(dst, x *float32, count int)", "is PairNext, to half as many pairs,", func() {
		dst, x, r = argument("dst"), argument("x"), newRounder(v)
	}, func(i reg.GPVirtual) {
		values, later := r.load(element(x, i)), v.vector()
		VPSRLQ(U8(32), values, later)
		VPSLLQ(U8(16), values, values)
		v.or(later, values)
		if v.wide() {
			VPMOVQD(values, Mem{Base: dst})
		} else {
			VPSHUFD(U8(0b10_00), values, values) // each half's two pairs into its lower words
			VPERMQ(U8(0b10_00), values, values)
			VMOVDQU(values.AsX(), Mem{Base: dst})
		}
		ADDQ(U32(v.bytes()/2), dst)
	}, func() {})
}

// multiplyPairs advances the sums of a row by a pair of it, at m, and each pair of
// b: by the upper factors, then by the lower ones.
func (t *tile) multiplyPairs(m Mem, b, sums []reg.VecVirtual) {
	x := t.vector()
	VBROADCASTSS(m, x)
	if t.wide() {
		for j := range b {
			dotPairs(b[j], x, sums[j])
		}
		return
	}
	lower := t.vector()
	VPSLLD(U8(16), x, lower)
	t.and(t.mask, x)
	for j := range sums {
		VFMADD231PS(b[2*j], x, sums[j])
	}
	for j := range sums {
		VFMADD231PS(b[2*j+1], lower, sums[j])
	}
}

// unpack returns, of each vector of pairs, the upper and the lower factors.
func (t *tile) unpack(pairs []reg.VecVirtual) []reg.VecVirtual {
	var factors []reg.VecVirtual
	for _, p := range pairs {
		lower := t.vector()
		VPSLLD(U8(16), p, lower)
		t.and(t.mask, p)
		factors = append(factors, p, lower)
	}
	return factors
}

// flush makes the processor treat subnormal numbers as VDPBF16PS does, and
// returns where its former state is kept.
func flush() Mem {
	former := AllocLocal(8)
	STMXCSR(former)
	state := GP32()
	MOVL(former, state)
	ORL(U32(daz|ftz), state)
	MOVL(state, former.Offset(4))
	LDMXCSR(former.Offset(4))
	return former
}
