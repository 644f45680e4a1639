package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of kernel.Window, in bytes.
const (
	windowRowsAt, windowColumnsAt   = 0, 8
	windowRowAt, windowColumnAt     = 16, 24
	windowPixelAt, windowPixelRowAt = 32, 40
)

func pools(v set) {
	maxPool(v)
	maxPoolBack(v)
	averagePool(v)
	averagePoolBack(v)
}

// windowed is a kernel that reduces a window: some vectors of all its pixels,
// in registers from the first to the last, then the next vectors. The functions
// are given the number of vectors.
type windowed struct {
	set
	result string // argument
	source string // argument: the window's first pixel
	groups []int  // numbers of vectors; the first as long as there are so many left
	w      reg.GPVirtual
	start  func(n int, first reg.GPVirtual)
	pixel  func(n int, at reg.GPVirtual)
	endRow func()
	finish func(n int, result reg.GPVirtual)
}

func (k *windowed) begin(name, signature, doc string) {
	TEXT(name+k.name, NOSPLIT, signature)
	Doc(name + k.name + " is " + doc + " of count values, a positive multiple of 16. w is the first word of a Window.")
	Pragma("noescape")
	k.w = argument("w")
}

func (k *windowed) loops() {
	source, result, left := argument(k.source), argument(k.result), byteStride("count")
	row, column := GP64(), GP64()
	MOVQ(at(k.w, windowRowAt), row)
	SHLQ(U8(2), row)
	MOVQ(at(k.w, windowColumnAt), column)
	SHLQ(U8(2), column)
	for i, n := range k.groups {
		name := func(what string, i int) string { return fmt.Sprintf("%s%d", what, i) }
		Label(name("group", i))
		CMPQ(left, U32(n*k.bytes()))
		JLT(LabelRef(name("group", i+1)))
		k.start(n, source)
		line, rows := GP64(), GP64()
		MOVQ(source, line)
		MOVQ(at(k.w, windowRowsAt), rows)
		Label(name("row", i))
		place, columns := GP64(), GP64()
		MOVQ(line, place)
		MOVQ(at(k.w, windowColumnsAt), columns)
		Label(name("column", i))
		k.pixel(n, place)
		ADDQ(column, place)
		DECQ(columns)
		JNE(LabelRef(name("column", i)))
		if k.endRow != nil {
			k.endRow()
		}
		ADDQ(row, line)
		DECQ(rows)
		JNE(LabelRef(name("row", i)))
		k.finish(n, result)
		ADDQ(U32(n*k.bytes()), source)
		ADDQ(U32(n*k.bytes()), result)
		SUBQ(U32(n*k.bytes()), left)
		JMP(LabelRef(name("group", i)))
	}
	Label(fmt.Sprintf("group%d", len(k.groups)))
	VZEROUPPER()
	RET()
}

// skip returns a register with the number of the pixels between the end of a row
// of the window and the beginning of the next.
func (k *windowed) skip() reg.GPVirtual {
	skip := GP64()
	MOVQ(at(k.w, windowPixelRowAt), skip)
	SUBQ(at(k.w, windowColumnsAt), skip)
	return skip
}

// maxPool needs one instruction for the largest value, which of two zeros and
// beside a NaN keeps the value it has. That is put right at the end: the sign of
// the result is the and of all signs, also of zeros, and there is a NaN where a
// value was unordered. Which pixel a value is from the comparison tells, for which
// zeros are equal.
func maxPool(v set) {
	k := windowed{set: v, source: "x", result: "y", groups: []int{2}}
	if v.wide() {
		k.groups = []int{4, 1}
	}
	k.begin("maxPool", "func(y *float32, from *int32, x *float32, w *int, count int)", "MaxPool")
	from := argument("from")
	first, one, skip, sign, pixel := v.vector(), v.vector(), v.vector(), v.vector(), v.vector()
	VPBROADCASTD(at(k.w, windowPixelAt), first)
	v.broadcast(k.skip(), skip)
	v.ones(sign)
	v.zero(one)
	VPSUBD(sign, one, one) // 0 - -1
	VPSLLD(U8(31), sign, sign)
	var most, place, signs []reg.VecVirtual
	var nans []reg.Register // for AVX-512: of values that are none
	k.start = func(n int, at0 reg.GPVirtual) {
		most, place, signs, nans = v.vectors(n), v.vectors(n), v.vectors(n), nil
		VMOVAPS(first, pixel)
		for i := range n {
			VMOVUPS(at(at0, i*v.bytes()), most[i])
			VMOVAPS(most[i], signs[i])
			VMOVAPS(first, place[i])
			if v.wide() {
				numbers := K()
				KXNORW(numbers, numbers, numbers)
				nans = append(nans, numbers)
			} else {
				none := v.vector()
				v.zero(none)
				nans = append(nans, none)
			}
		}
	}
	k.pixel = func(n int, p reg.GPVirtual) {
		for i := range n {
			x := v.vector()
			VMOVUPS(at(p, i*v.bytes()), x)
			v.blend(v.compare(greater, x, most[i]), pixel, place[i])
			VMAXPS(most[i], x, most[i])
			VANDPS(x, signs[i], signs[i])
			if v.wide() {
				VCMPPS(U8(ordered), x, x, nans[i], nans[i])
			} else {
				VCMPPS(U8(unordered), x, x, x)
				VORPS(x, nans[i], nans[i])
			}
		}
		VPADDD(one, pixel, pixel)
	}
	k.endRow = func() { VPADDD(skip, pixel, pixel) }
	k.finish = func(n int, y reg.GPVirtual) {
		for i := range n {
			VANDPS(sign, signs[i], signs[i])
			VANDNPS(most[i], sign, most[i])
			v.or(signs[i], most[i])
			nan := v.vector()
			v.ones(nan)
			if v.wide() {
				KNOTW(nans[i], nans[i])
			}
			v.blend(nans[i], nan, most[i])
			v.blend(nans[i], first, place[i])
			VMOVUPS(most[i], at(y, i*v.bytes()))
		}
		TESTQ(from, from)
		JEQ(LabelRef(fmt.Sprintf("without%d", n)))
		for i := range n {
			VMOVUPS(place[i], at(from, i*v.bytes()))
		}
		ADDQ(U32(n*v.bytes()), from)
		Label(fmt.Sprintf("without%d", n))
	}
	k.loops()
}

// sums makes k add up what pixel adds, from +0, and store it after what last does.
func (k *windowed) sums(pixel func(i int, p reg.GPVirtual, sum reg.VecVirtual), last func(sum reg.VecVirtual)) {
	var sums []reg.VecVirtual
	start, end := k.start, k.pixel
	k.start = func(n int, first reg.GPVirtual) {
		if start != nil {
			start(n, first)
		}
		sums = k.vectors(n)
		for _, sum := range sums {
			k.zero(sum)
		}
	}
	k.pixel = func(n int, p reg.GPVirtual) {
		for i, sum := range sums {
			pixel(i, p, sum)
		}
		if end != nil {
			end(n, p)
		}
	}
	k.finish = func(_ int, result reg.GPVirtual) {
		for i, sum := range sums {
			last(sum)
			VMOVUPS(sum, at(result, i*k.bytes()))
		}
	}
	k.loops()
}

// maxPoolBack finds from at the same distance from dy everywhere.
func maxPoolBack(v set) {
	k := windowed{set: v, source: "dy", result: "dx", groups: v.sumGroups()}
	k.begin("maxPoolBack", "func(dx, dy *float32, from *int32, w *int, count int, pixel int32)", "MaxPoolBack")
	from, pixel := argument("from"), v.vector()
	SUBQ(parameter("dy"), from)
	number := GP32()
	Load(Param("pixel"), number)
	v.broadcast(number, pixel)
	k.sums(func(i int, p reg.GPVirtual, sum reg.VecVirtual) {
		winner := Mem{Base: p, Index: from, Scale: 1, Disp: i * v.bytes()}
		if v.wide() {
			mask := K()
			VPCMPEQD(winner, pixel, mask)
			VADDPS(at(p, i*v.bytes()), sum, mask, sum)
			return
		}
		mask, more := v.vector(), v.vector()
		VPCMPEQD(winner, pixel, mask)
		VADDPS(at(p, i*v.bytes()), sum, more)
		v.blend(mask, more, sum)
	}, func(reg.VecVirtual) {})
}

func averagePool(v set) {
	k := windowed{set: v, source: "x", result: "y", groups: v.sumGroups()}
	k.begin("averagePool", "func(y, x *float32, w *int, count int, divisor float32)", "AveragePool")
	count := v.vector()
	VBROADCASTSS(parameter("divisor"), count)
	k.sums(func(i int, p reg.GPVirtual, sum reg.VecVirtual) {
		VADDPS(at(p, i*v.bytes()), sum, sum)
	}, func(sum reg.VecVirtual) { VDIVPS(count, sum, sum) })
}

func averagePoolBack(v set) {
	k := windowed{set: v, source: "dy", result: "dx", groups: v.sumGroups()}
	k.begin("averagePoolBack", "func(dx, dy, divisors *float32, w *int, count int)", "AveragePoolBack")
	divisor, skip := GP64(), k.skip()
	SHLQ(U8(2), skip)
	k.start = func(int, reg.GPVirtual) { Load(Param("divisors"), divisor) }
	k.pixel = func(int, reg.GPVirtual) { ADDQ(U32(valueBytes), divisor) }
	k.endRow = func() { ADDQ(skip, divisor) }
	k.sums(func(i int, p reg.GPVirtual, sum reg.VecVirtual) {
		count, x := v.vector(), v.vector()
		VBROADCASTSS(at(divisor, 0), count)
		VMOVUPS(at(p, i*v.bytes()), x)
		VDIVPS(count, x, x)
		VADDPS(x, sum, sum)
	}, func(reg.VecVirtual) {})
}

// sumGroups are sums enough to hide what an addition takes.
func (s set) sumGroups() []int {
	if s.wide() {
		return []int{4, 1}
	}
	return []int{4, 2}
}
