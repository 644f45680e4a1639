package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unroll is the number of steps k in one turn of the inner loop.
const unroll = 4

// chain writes kernel.Chain. Each number of rows has its own loop, whose tile
// stays in registers from the first block to the last: 6 rows of two AVX2
// vectors take 12 of the 16 registers, two hold a row of b, and two take turns
// at holding a value of a in all lanes.
//
// a is read where it lies, one broadcast for each row and step. Its rows are
// addressed as p, p+r, p+2r, p+3r, p+4r, p+5r from one pointer p and registers
// for r, 3r and 5r, so that a step moves one pointer only.
func chain(v set) {
	TEXT("chain"+v.name, NOSPLIT,
		"func(c *float32, ldc, rows int, a *float32, rowA, stepA int, b *float32, blocks *int, count int, zero bool)")
	Doc("chain" + v.name + " is Chain, or ChainZero where zero is set; blocks is the first word of count Blocks.")
	Pragma("noescape")
	rows := argument("rows")
	for n := tileRows; n > 1; n-- {
		CMPQ(rows, U32(n))
		JEQ(LabelRef(label("rows", n)))
	}
	for n := 1; n <= tileRows; n++ {
		Label(label("rows", n))
		chainRows(v, n)
	}
}

func label(what string, rows int) string { return fmt.Sprintf("%s%d", what, rows) }

// chainRows writes the chains of a tile of that many rows, and the return.
func chainRows(v set, rows int) {
	t := tile{set: v, rows: rows, perRow: lanes / v.values}
	t.sums = v.vectors(rows * t.perRow)

	Comment(fmt.Sprintf("Rows: %d", rows))
	c, ldc := argument("c"), byteStride("ldc")
	zero := GP8()
	Load(Param("zero"), zero)
	TESTB(zero, zero)
	JNE(LabelRef(label("zero", rows)))
	t.eachRow(c, ldc, func(sum reg.VecVirtual, m Mem) { VMOVUPS(m, sum) })
	JMP(LabelRef(label("begin", rows)))
	Label(label("zero", rows))
	for _, sum := range t.sums {
		VXORPS(sum, sum, sum)
	}

	Label(label("begin", rows))
	a, b := argument("a"), argument("b")
	step := byteStride("stepA")
	if rows > 1 {
		t.strides(byteStride("rowA"))
	}
	blocks, count := argument("blocks"), argument("count")
	TESTQ(count, count)
	JE(LabelRef(label("end", rows)))

	Label(label("block", rows))
	t.p, t.q = GP64(), GP64()
	k, turns := GP64(), GP64()
	MOVQ(at(blocks, 0), t.p)
	MOVQ(at(blocks, 8), t.q)
	MOVQ(at(blocks, 16), k)
	LEAQ(Mem{Base: a, Index: t.p, Scale: valueBytes}, t.p)
	LEAQ(Mem{Base: b, Index: t.q, Scale: valueBytes}, t.q)
	MOVQ(k, turns)
	SHRQ(U8(2), turns)
	JE(LabelRef(label("rest", rows)))

	Label(label("turn", rows))
	for u := range unroll {
		t.step(u)
		ADDQ(step, t.p)
	}
	ADDQ(U32(unroll*lanes*valueBytes), t.q)
	DECQ(turns)
	JNE(LabelRef(label("turn", rows)))

	Label(label("rest", rows))
	ANDQ(U32(unroll-1), k)
	JE(LabelRef(label("next", rows)))
	Label(label("single", rows))
	t.step(0)
	ADDQ(step, t.p)
	ADDQ(U32(lanes*valueBytes), t.q)
	DECQ(k)
	JNE(LabelRef(label("single", rows)))

	Label(label("next", rows))
	ADDQ(U32(24), blocks)
	DECQ(count)
	JNE(LabelRef(label("block", rows)))

	Label(label("end", rows))
	c, ldc = argument("c"), byteStride("ldc")
	t.eachRow(c, ldc, func(sum reg.VecVirtual, m Mem) { VMOVUPS(sum, m) })
	VZEROUPPER()
	RET()
}

// tile is a tile held in registers, and where its operands are.
type tile struct {
	set
	rows, perRow int // perRow vectors make a row
	sums         []reg.VecVirtual
	r, r3, r5    reg.GPVirtual // bytes between rows of a, times 1, 3 and 5
	p, q         reg.GPVirtual // the next values of a, the next row of b
}

// strides sets the multiples of r that the rows need.
func (t *tile) strides(r reg.GPVirtual) {
	t.r = r
	if t.rows > 3 {
		t.r3 = GP64()
		LEAQ(Mem{Base: r, Index: r, Scale: 2}, t.r3)
	}
	if t.rows > 5 {
		t.r5 = GP64()
		LEAQ(Mem{Base: r, Index: r, Scale: 4}, t.r5)
	}
}

// row returns the next value of a row of a.
func (t *tile) row(i int) Mem {
	switch i {
	case 0:
		return Mem{Base: t.p}
	case 3:
		return Mem{Base: t.p, Index: t.r3, Scale: 1}
	case 5:
		return Mem{Base: t.p, Index: t.r5, Scale: 1}
	}
	return Mem{Base: t.p, Index: t.r, Scale: uint8(i)}
}

// step advances every chain by one, with the row of b that is u after q.
func (t *tile) step(u int) {
	row := t.vectors(t.perRow)
	for j := range row {
		VMOVUPS(at(t.q, (u*t.perRow+j)*t.bytes()), row[j])
	}
	for i := range t.rows {
		x := t.vector()
		VBROADCASTSS(t.row(i), x)
		for j := range row {
			VFMADD231PS(row[j], x, t.sums[i*t.perRow+j])
		}
	}
}

// eachRow calls move for each vector of the tile with its place in c, and moves
// c past the tile.
func (t *tile) eachRow(c, ldc reg.GPVirtual, move func(sum reg.VecVirtual, m Mem)) {
	for i := range t.rows {
		for j := range t.perRow {
			move(t.sums[i*t.perRow+j], at(c, j*t.bytes()))
		}
		if i < t.rows-1 {
			ADDQ(ldc, c)
		}
	}
}
