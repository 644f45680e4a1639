package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const channelBytes = lanes * valueBytes

// channels is a loop over the channels of a pixel and, for each of them, over
// those of a window around it. i is the number of bytes before the channel.
type channels struct {
	set
	i, last       reg.GPVirtual
	before, after reg.GPVirtual
}

func newChannels(v set, before, after string) channels {
	c := channels{set: v, i: GP64(), last: argument("channels"), before: argument(before), after: argument(after)}
	for _, r := range []reg.GPVirtual{c.last, c.before, c.after} {
		SHLQ(U8(6), r)
	}
	SUBQ(U32(channelBytes), c.last)
	return c
}

// each runs body for each channel.
func (c *channels) each(name string, body func()) {
	XORQ(c.i, c.i)
	Label(name)
	body()
	ADDQ(U32(channelBytes), c.i)
	CMPQ(c.i, c.last)
	JLE(LabelRef(name))
}

// sums adds up the windows of the channel at hand, from +0 and in ascending
// order: of the array at base what term makes of it. They are few, and found in
// the first cache, so nothing is kept in registers from one channel to the next.
func (c *channels) sums(base reg.GPVirtual, term func(x reg.VecVirtual)) []reg.VecVirtual {
	sums := c.vectors(lanes / c.values)
	for _, sum := range sums {
		c.zero(sum)
	}
	j, end, zero := GP64(), GP64(), GP64()
	XORQ(zero, zero)
	MOVQ(c.i, j)
	SUBQ(c.before, j)
	CMOVQLT(zero, j)
	MOVQ(c.i, end)
	ADDQ(c.after, end)
	CMPQ(end, c.last)
	CMOVQGT(c.last, end)
	Label("window")
	for part, sum := range sums {
		x := c.vector()
		VMOVUPS(c.part(base, j, part), x)
		term(x)
		VADDPS(x, sum, sum)
	}
	ADDQ(U32(channelBytes), j)
	CMPQ(j, end)
	JLE(LabelRef("window"))
	return sums
}

// part returns a vector of the channel that i leads to in the array at base.
func (c *channels) part(base, i reg.GPVirtual, part int) Mem {
	return Mem{Base: base, Index: i, Scale: 1, Disp: part * c.bytes()}
}

func lrn(v set) {
	lrnForward(v)
	lrnBack(v)
}

func lrnForward(v set) {
	TEXT("lrn"+v.name, NOSPLIT, "func(y, d, f, x *float32, channels, before, after int, k, alpha float32)")
	Doc("lrn" + v.name + " is LRN of channels, one or more, and a power of 3/4.")
	Pragma("noescape")
	y, d, f, x := argument("y"), argument("d"), argument("f"), argument("x")
	k, alpha, one := v.vector(), v.vector(), v.vector()
	VBROADCASTSS(parameter("k"), k)
	VBROADCASTSS(parameter("alpha"), alpha)
	bits, low := GP64(), XMM()
	MOVQ(U64(0x3ff0000000000000), bits) // 1
	VMOVQ(bits, low)
	VBROADCASTSD(low, one)
	c := newChannels(v, "before", "after")
	c.each("channel", func() {
		sums := c.sums(x, func(x reg.VecVirtual) { VMULPS(x, x, x) })
		factors := v.vectors(len(sums))
		for part, sum := range sums {
			VMULPS(sum, alpha, sum)
			VADDPS(sum, k, sum)
			v.power(sum, one, factors[part])
			product := v.vector()
			VMULPS(c.part(x, c.i, part), factors[part], product)
			VMOVUPS(product, c.part(y, c.i, part))
		}
		TESTQ(d, d)
		JEQ(LabelRef("without"))
		for part, sum := range sums {
			VMOVUPS(sum, c.part(d, c.i, part))
			VMOVUPS(factors[part], c.part(f, c.i, part))
		}
		Label("without")
	})
	VZEROUPPER()
	RET()
}

// power writes d to the power of -3/4, by way of float64, half a vector at a time.
func (s set) power(d, one, f reg.VecVirtual) {
	half := func(x Op) reg.VecVirtual {
		root, fourth := s.vector(), s.vector()
		VCVTPS2PD(x, root)
		VSQRTPD(root, root)
		VSQRTPD(root, fourth)
		VMULPD(root, fourth, fourth)
		VDIVPD(fourth, one, fourth)
		return fourth
	}
	if s.wide() {
		lower, high := half(d.AsY()), YMM()
		VEXTRACTF64X4(U8(1), d, high)
		upper := half(high)
		VCVTPD2PS(lower, f.AsY())
		VCVTPD2PS(upper, high)
		VINSERTF64X4(U8(1), high, f, f)
		return
	}
	lower, high := half(d.AsX()), XMM()
	VEXTRACTF128(U8(1), d, high)
	upper := half(high)
	VCVTPD2PSY(lower, f.AsX())
	VCVTPD2PSY(upper, high)
	VINSERTF128(U8(1), high, f, f)
}

func lrnBack(v set) {
	TEXT("lrnBack"+v.name, NOSPLIT, "func(dx, dy, x, d, f, q *float32, channels, before, after int, twice float32)")
	Doc("lrnBack" + v.name + " is LRNBack of channels, one or more.")
	Pragma("noescape")
	dx, dy, x, d, f, q := argument("dx"), argument("dy"), argument("x"), argument("d"), argument("f"), argument("q")
	twice := v.vector()
	VBROADCASTSS(parameter("twice"), twice)
	c := newChannels(v, "after", "before") // of those in whose window a channel is
	c.each("quotient", func() {
		for part := range lanes / v.values {
			r := v.vector()
			VMOVUPS(c.part(x, c.i, part), r)
			VMULPS(c.part(f, c.i, part), r, r)
			VMULPS(c.part(dy, c.i, part), r, r)
			VDIVPS(c.part(d, c.i, part), r, r)
			VMOVUPS(r, c.part(q, c.i, part))
		}
	})
	c.each("channel", func() {
		for part, sum := range c.sums(q, func(reg.VecVirtual) {}) {
			first, second := v.vector(), v.vector()
			VMOVUPS(c.part(dy, c.i, part), first)
			VMULPS(c.part(f, c.i, part), first, first)
			VMULPS(c.part(x, c.i, part), twice, second)
			VMULPS(sum, second, second)
			VSUBPS(second, first, first)
			VMOVUPS(first, c.part(dx, c.i, part))
		}
	})
	VZEROUPPER()
	RET()
}
