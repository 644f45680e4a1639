package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// sumRounder rounds the results of arithmetic to bfloat16 where they stand. It is
// shorter than rounder, and takes no more than the four registers that a tile of
// chain leaves, since it relies on what only arithmetic promises: that each NaN is
// quiet. Cut off, such a one stays NaN; added to, it could become a zero.
type sumRounder struct {
	set
	below, upper reg.VecVirtual // just below half of what the upper bits count; the upper bits
	one          reg.VecVirtual
	bit          reg.VecVirtual // AVX-512: the lowest of the upper bits
}

func newSumRounder(v set) *sumRounder {
	r := &sumRounder{set: v, below: v.vector(), upper: v.vector(), one: v.vector()}
	v.constant(0x7fff, r.below)
	v.constant(upperHalf, r.upper)
	v.constant(1, r.one)
	if v.wide() {
		r.bit = v.vector()
		v.constant(1<<16, r.bit)
	}
	return r
}

// round adds to x just below a half, and one more where the last bit that stays
// is set, and cuts off the rest.
func (r *sumRounder) round(x reg.VecVirtual) {
	if r.wide() {
		number, odd := K(), K()
		VCMPPS(U8(ordered), x, x, number)
		VPTESTMD(r.bit, x, number, odd)
		VPADDD(r.below, x, number, x)
		VPADDD(r.one, x, odd, x)
		r.and(r.upper, x)
		return
	}
	number, more := r.vector(), r.vector()
	VCMPPS(U8(ordered), x, x, number)
	VPSRLD(U8(16), x, more)
	r.and(r.one, more)
	VPADDD(r.below, more, more)
	r.and(number, more)
	VPADDD(more, x, x)
	r.and(r.upper, x)
}

func addRound(v set) {
	var dst, x, y reg.GPVirtual
	var r *sumRounder
	elementwise(v, "addRound", "func(dst, x, y *float32, count int)", "is AddRound", func() {
		dst, x, y, r = argument("dst"), argument("x"), argument("y"), newSumRounder(v)
	}, func(i reg.GPVirtual) {
		sum := v.vector()
		VMOVUPS(element(x, i), sum)
		VADDPS(element(y, i), sum, sum)
		r.round(sum)
		VMOVUPS(sum, element(dst, i))
	}, func() {})
}

// round takes whatever bits there are, so it rounds as toBfloat16 does.
func round(v set) {
	var dst, x reg.GPVirtual
	var r *rounder
	elementwise(v, "round", "func(dst, x *float32, count int)", "is Round", func() {
		dst, x, r = argument("dst"), argument("x"), newRounder(v)
	}, func(i reg.GPVirtual) {
		rounded := r.load(element(x, i))
		VPSLLD(U8(16), rounded, rounded)
		VMOVUPS(rounded, element(dst, i))
	}, func() {})
}

// roundSums rounds the sums of a tile, at a place that fold jumps to, so that
// sums that stay as they are pass by it.
func (t *tile) roundSums(here func(string) LabelRef, place func(string)) {
	place("round")
	r := newSumRounder(t.set)
	for _, sum := range t.sums {
		r.round(sum)
	}
	JMP(here("rounded"))
}
