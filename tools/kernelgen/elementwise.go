package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// elementwise writes a function of count values, a multiple of the vector
// length and more than 0, as a loop over i, the number of bytes before the
// current vector. setup runs once before it and body in it.
func elementwise(v set, name, signature, doc string, setup func(), body func(i reg.GPVirtual), end func()) {
	TEXT(name+v.name, NOSPLIT, signature)
	Doc(name + v.name + " " + doc + " of count values, a positive multiple of the vector's length.")
	Pragma("noescape")
	setup()
	bytes := byteStride("count")
	i := GP64()
	XORQ(i, i)
	Label("loop")
	body(i)
	ADDQ(U32(v.bytes()), i)
	CMPQ(i, bytes)
	JLT(LabelRef("loop"))
	end()
	VZEROUPPER()
	RET()
}

// element returns the vector of the array at base that i leads to.
func element(base, i reg.GPVirtual) Mem { return Mem{Base: base, Index: i, Scale: 1} }

func add(v set) {
	var dst, x, y reg.GPVirtual
	elementwise(v, "add", "func(dst, x, y *float32, count int)", "is Add", func() {
		dst, x, y = argument("dst"), argument("x"), argument("y")
	}, func(i reg.GPVirtual) {
		sum := v.vector()
		VMOVUPS(element(x, i), sum)
		VADDPS(element(y, i), sum, sum)
		VMOVUPS(sum, element(dst, i))
	}, func() {})
}

// update is what the two kinds of momentum share.
type update struct {
	set
	w2, v2, w, v, g      reg.GPVirtual
	scale, lr, mu, decay reg.VecVirtual
	finite               finiteness
	store                func(x, m Op)
}

const updateSignature = "func(w2, v2, w, v, dw *float32, count int, scale, lr, mu, decay float32) bool"

func (u *update) load() {
	u.w2, u.v2 = argument("w2"), argument("v2")
	u.w, u.v, u.g = argument("w"), argument("v"), argument("dw")
	for _, p := range []struct {
		name string
		to   *reg.VecVirtual
	}{{"scale", &u.scale}, {"lr", &u.lr}, {"mu", &u.mu}, {"decay", &u.decay}} {
		*p.to = u.vector()
		VBROADCASTSS(parameter(p.name), *p.to)
	}
	u.finite.begin(u.set)
}

// velocity computes and stores v2 and returns it, lr*d and w.
func (u *update) velocity(i reg.GPVirtual) (v2, lrd, w reg.VecVirtual) {
	w, lrd, v2 = u.vector(), u.vector(), u.vector()
	decayed := u.vector()
	VMOVUPS(element(u.w, i), w)
	VMULPS(element(u.g, i), u.scale, lrd)
	VMULPS(w, u.decay, decayed)
	VADDPS(decayed, lrd, lrd)
	VMULPS(lrd, u.lr, lrd)
	VMULPS(element(u.v, i), u.mu, v2)
	VSUBPS(lrd, v2, v2)
	u.store(v2, element(u.v2, i))
	return v2, lrd, w
}

// updates writes both kinds of momentum, each with results that come into the
// caches and with such as pass them by.
func updates(v set) {
	for _, to := range []struct {
		suffix, note string
		store        func(x, m Op)
	}{
		{"", "", func(x, m Op) { VMOVUPS(x, m) }},
		{"Far", " with far results,", func(x, m Op) { VMOVNTPS(x, m) }},
	} {
		u := update{set: v, store: to.store}
		elementwise(v, "momentum"+to.suffix, updateSignature, "is Momentum"+to.note, u.load, func(i reg.GPVirtual) {
			v2, _, w := u.velocity(i)
			VADDPS(v2, w, w)
			u.store(w, element(u.w2, i))
			u.finite.take(w)
		}, func() { u.finite.end() })
		elementwise(v, "nesterov"+to.suffix, updateSignature, "is Nesterov"+to.note, u.load, func(i reg.GPVirtual) {
			v2, lrd, w := u.velocity(i)
			VMULPS(v2, u.mu, v2)
			VSUBPS(lrd, v2, v2)
			VADDPS(v2, w, w)
			u.store(w, element(u.w2, i))
			u.finite.take(w)
		}, func() { u.finite.end() })
	}
}

// finiteness finds NaNs and infinities: it multiplies by 0, which leaves NaN of
// them and a zero of all else, and collects the bits of the products: they are a
// NaN's where one of them is. A bitwise or takes one cycle, a sum would take
// three or four.
type finiteness struct {
	v         set
	all, zero reg.VecVirtual
}

func (f *finiteness) begin(v set) {
	f.v, f.all, f.zero = v, v.vector(), v.vector()
	v.zero(f.all)
	v.zero(f.zero)
}

func (f *finiteness) take(x Op) {
	product := f.v.vector()
	VMULPS(x, f.zero, product)
	f.v.or(product, f.all)
}

// end makes what was found the function's result.
func (f *finiteness) end() {
	mask, result := GP32(), GP8()
	if f.v.wide() {
		k := K()
		VCMPPS(U8(unordered), f.all, f.all, k)
		KMOVW(k, mask)
	} else {
		VCMPPS(U8(unordered), f.all, f.all, f.all)
		VMOVMSKPS(f.all, mask)
	}
	TESTL(mask, mask)
	SETEQ(result)
	Store(result, ReturnIndex(0))
}

func finite(v set) {
	var x reg.GPVirtual
	var f finiteness
	elementwise(v, "finite", "func(x *float32, count int) bool", "is Finite", func() {
		x = argument("x")
		f.begin(v)
	}, func(i reg.GPVirtual) {
		f.take(element(x, i))
	}, f.end)
}
