package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unroll is the number of steps k in one turn of the inner loop, in which at most
// one line is fetched: kernel.LineSteps is the same number.
const unroll = 4

// Offsets of the fields of kernel.Tile and kernel.Block, in bytes.
const (
	tileRowsAt, tileColumnsAt   = 0, 8
	tileRowCAt, tileColumnCAt   = 16, 24
	tileRowAAt, tileStepAAt     = 32, 40
	tileStepBAt, tileColumnBAt  = 48, 56
	tileFarAt, tileRoundAt      = 65, 66
	tileNextAt, tileLinesAt     = 72, 80
	blockAAt, blockBAt, blockK  = 0, 8, 16
	blockThenAt, blockBytes     = 24, 32
	beginC, beginZero, beginRow = 0, 1, 2 // values of the argument begin
)

// chain writes kernel.Chain and its kin. Each number of rows has its own loop,
// whose tile stays in registers from the first block to the last. Of AVX-512's
// 32 registers 14 rows of two columns take 28, two hold a row of b, and two take
// turns at holding a value of a in all lanes. Of AVX2's 16, 6 rows of one column
// take 12, and the others are used alike.
//
// a is read where it lies, one broadcast for each row and step. Seven rows are
// addressed as p, p+r, p+2r .. p+6r from one pointer p and registers for r, 3r
// and 5r; a second pointer stands seven rows on.
func chain(v set) {
	columns, rows := 1, 6
	name := "chain" + v.name
	switch {
	case v.wide():
		columns, rows = 2, tileRows
	case v.pairs:
		rows = 4 // factors take more registers
	}
	if v.pairs {
		name = "chainPairs" + v.name
	}
	if v.wide() {
		TEXT(name, NOSPLIT,
			"func(c, a, b *float32, tile, blocks *int, rows, columns, count, begin int, from, stack *float32)")
		Doc(name+" is Chain, ChainZero, ChainFrom or ChainTree, as begin says, of a tile of that many rows",
			"and columns. tile and blocks are the first words of a Tile, whose Rows and Columns are not read,",
			"and of count Blocks.")
	} else {
		TEXT(name, NOSPLIT,
			"func(c, a, b *float32, tile, blocks *int, row, rows, column, count, begin int, from *float32)")
		Doc(name+" is Chain, ChainZero or ChainFrom, as begin says, of the rows from row on, at most "+fmt.Sprint(rows)+", of one",
			"column of a tile. tile and blocks are the first words of a Tile, whose Rows and Columns are not read,",
			"and of count Blocks.")
	}
	Pragma("noescape")
	if !v.wide() {
		piece()
	}
	var former Mem
	if v.pairs && !v.wide() {
		former = flush()
	}
	var lines Mem
	if v.wide() {
		lines = nextLines()
	}
	n := argument("rows")
	if columns > 1 {
		which := argument("columns")
		CMPQ(which, U32(1))
		JEQ(LabelRef("narrow"))
	}
	for w := columns; w >= 1; w-- {
		if w < columns {
			Label("narrow")
		}
		for i := rows; i > 1; i-- {
			CMPQ(n, U32(i))
			JEQ(LabelRef(label("rows", i, w)))
		}
		JMP(LabelRef(label("rows", 1, w)))
	}
	for w := columns; w >= 1; w-- {
		for i := 1; i <= rows; i++ {
			chainRows(v, i, w, former, lines)
		}
	}
}

// piece moves the arguments to the row and the column that the call is about.
func piece() {
	tile := argument("tile")
	for _, move := range []struct {
		pointer, number string
		distance        int // field of the Tile
	}{
		{"c", "row", tileRowCAt},
		{"c", "column", tileColumnCAt},
		{"a", "row", tileRowAAt},
		{"b", "column", tileColumnBAt},
	} {
		n := argument(move.number)
		IMULQ(at(tile, move.distance), n)
		SHLQ(U8(2), n)
		ADDQ(n, parameter(move.pointer))
	}
	row := argument("row")
	SHLQ(U8(2), row)
	ADDQ(row, parameter("from"))
}

func label(what string, rows, columns int) string { return fmt.Sprintf("%s%dx%d", what, rows, columns) }

// chainRows writes the chains of a tile of that many rows and columns, and the
// return. former is where flush has kept the processor's state, lines what
// nextLines has returned.
func chainRows(v set, rows, columns int, former, lines Mem) {
	t := tile{set: v, rows: rows, columns: columns, perColumn: lanes / v.values}
	t.sums = v.vectors(rows * columns * t.perColumn)
	here := func(what string) LabelRef { return LabelRef(label(what, rows, columns)) }
	place := func(what string) { Label(label(what, rows, columns)) }

	place("rows")
	Comment(fmt.Sprintf("Rows: %d, columns: %d", rows, columns))
	begin := argument("begin")
	CMPQ(begin, U32(beginZero))
	JEQ(here("zero"))
	JGT(here("from"))
	t.eachInC(func(sum reg.VecVirtual, m Mem) { VMOVUPS(m, sum) })
	JMP(here("begin"))
	place("from")
	from := argument("from")
	for i := range rows {
		row := t.sums[i*columns*t.perColumn:][:columns*t.perColumn]
		for _, sum := range row {
			VBROADCASTSS(at(from, i*valueBytes), sum)
		}
	}
	JMP(here("begin"))
	place("zero")
	t.clear()
	if v.wide() {
		t.ask(here)
		place("asked")
	}

	place("begin")
	if v.pairs && !v.wide() {
		t.mask = v.vector()
		v.constant(upperHalf, t.mask)
	}
	t.strides()
	blocks := argument("blocks")
	CMPQ(parameter("count"), U32(0))
	JEQ(here("end"))

	place("block")
	t.p, t.q = GP64(), GP64()
	k := GP64()
	func() {
		base := argument("a")
		MOVQ(at(blocks, blockAAt), t.p)
		LEAQ(Mem{Base: base, Index: t.p, Scale: valueBytes}, t.p)
		base = argument("b")
		MOVQ(at(blocks, blockBAt), t.q)
		LEAQ(Mem{Base: base, Index: t.q, Scale: valueBytes}, t.q)
	}()
	if rows > rowsFromOne {
		t.p2 = GP64()
		LEAQ(Mem{Base: t.p, Index: t.r, Scale: 1}, t.p2)
		LEAQ(Mem{Base: t.p2, Index: t.r3, Scale: 2}, t.p2)
	}
	if v.wide() {
		t.ahead(blocks, here, place)
	}
	MOVQ(at(blocks, blockK), k)
	SUBQ(U32(unroll), k)
	JLT(here("rest"))
	if v.wide() {
		CMPQ(k, U32(aheadSteps-unroll))
		JGT(here("turn"))
		place("fetching")
		for range unroll {
			t.fetchB()
			t.step()
		}
		SUBQ(U32(unroll), k)
		JGE(here("fetching"))
		JMP(here("rest"))
	}
	place("turn")
	if v.wide() {
		fetchLine(lines, here, place)
	}
	for range unroll {
		t.step()
	}
	SUBQ(U32(unroll), k)
	JGE(here("turn"))

	place("rest")
	ADDQ(U32(unroll), k)
	JE(here("next"))
	place("single")
	t.step()
	DECQ(k)
	JNE(here("single"))

	place("next")
	if v.wide() {
		t.fold(blocks, here, place)
	}
	ADDQ(U32(blockBytes), blocks)
	DECQ(parameter("count"))
	JNE(here("block"))

	place("end")
	if v.wide() {
		far := GP32()
		MOVBLZX(at(argument("tile"), tileFarAt), far)
		TESTL(far, far)
		JNE(here("far"))
	}
	t.eachInC(func(sum reg.VecVirtual, m Mem) { VMOVUPS(sum, m) })
	if v.pairs && !v.wide() {
		LDMXCSR(former)
	}
	VZEROUPPER()
	RET()
	if v.wide() {
		place("far")
		t.eachInC(func(sum reg.VecVirtual, m Mem) { VMOVNTPS(sum, m) })
		VZEROUPPER()
		RET()
		t.roundSums(here, place)
	}
}

// tile is a tile held in registers, and where its operands are.
type tile struct {
	set
	rows, columns, perColumn int // perColumn vectors make 16 values
	sums                     []reg.VecVirtual
	mask                     reg.VecVirtual // of the upper halves of pairs, where they are taken apart
	r, r3, r5                reg.GPVirtual  // bytes between rows of a, times 1, 3 and 5
	step1, stepB, columnB    reg.GPVirtual  // bytes between steps of a, steps and columns of b
	next, nextColumn         reg.GPVirtual  // bytes from b to what the next block has in its place, in both columns
	p, p2, q                 reg.GPVirtual  // the next values of a, seven rows on, and the next row of b
}

// rowsFromOne is how many rows of a are addressed from one pointer.
const rowsFromOne = 7

func (t *tile) clear() {
	for _, sum := range t.sums {
		t.zero(sum)
	}
}

// field loads a field of the Tile, a number of values, as a number of bytes.
func (t *tile) field(offset int) reg.GPVirtual {
	base, r := argument("tile"), GP64()
	MOVQ(at(base, offset), r)
	SHLQ(U8(2), r)
	return r
}

// strides loads the distances that the rows and columns need.
func (t *tile) strides() {
	t.step1, t.stepB = t.field(tileStepAAt), t.field(tileStepBAt)
	if t.columns > 1 {
		t.columnB = t.field(tileColumnBAt)
	}
	if t.rows > 1 {
		t.r = t.field(tileRowAAt)
	}
	if t.rows > 3 {
		t.r3 = GP64()
		LEAQ(Mem{Base: t.r, Index: t.r, Scale: 2}, t.r3)
	}
	if t.rows > 5 {
		t.r5 = GP64()
		LEAQ(Mem{Base: t.r, Index: t.r, Scale: 4}, t.r5)
	}
}

// row returns the next value of a row of a.
func (t *tile) row(i int) Mem {
	base := t.p
	if i >= rowsFromOne {
		base, i = t.p2, i-rowsFromOne
	}
	switch i {
	case 0:
		return Mem{Base: base}
	case 3:
		return Mem{Base: base, Index: t.r3, Scale: 1}
	case 5:
		return Mem{Base: base, Index: t.r5, Scale: 1}
	case 6:
		return Mem{Base: base, Index: t.r3, Scale: 2}
	}
	return Mem{Base: base, Index: t.r, Scale: uint8(i)}
}

// step advances every chain by one, and the pointers.
func (t *tile) step() {
	n := t.columns * t.perColumn
	row := t.vectors(n)
	for j := range row {
		m := at(t.q, j%t.perColumn*t.bytes())
		if j >= t.perColumn {
			m.Index, m.Scale = t.columnB, 1
		}
		VMOVUPS(m, row[j])
	}
	if t.pairs && !t.wide() {
		row = t.unpack(row)
	}
	for i := range t.rows {
		if t.pairs {
			t.multiplyPairs(t.row(i), row, t.sums[i*n:(i+1)*n])
			continue
		}
		x := t.vector()
		VBROADCASTSS(t.row(i), x)
		for j := range row {
			VFMADD231PS(row[j], x, t.sums[i*n+j])
		}
	}
	ADDQ(t.step1, t.p)
	if t.rows > rowsFromOne {
		ADDQ(t.step1, t.p2)
	}
	ADDQ(t.stepB, t.q)
}

// ask fetches c, of a tree, unless it is written past the caches: it is far away,
// and a tree's time is long enough for it to come.
func (t *tile) ask(here func(string) LabelRef) {
	CMPQ(parameter("stack"), U32(0))
	JEQ(here("asked"))
	far := GP32()
	MOVBLZX(at(argument("tile"), tileFarAt), far)
	TESTL(far, far)
	JNE(here("asked"))
	t.eachInC(func(_ reg.VecVirtual, m Mem) { PREFETCHT0(m) })
}

// fold ends the chains where the block says so: it adds sums from the stack to
// them and, where blocks follow, lays them on the stack and begins anew. Each sum
// is rounded where the Tile says so, the chains' own among them.
func (t *tile) fold(blocks reg.GPVirtual, here func(string) LabelRef, place func(string)) {
	then, stack, shape := GP64(), GP64(), GP64()
	size := len(t.sums) * t.bytes()
	MOVQ(at(blocks, blockThenAt), then)
	TESTQ(then, then)
	JE(here("on"))
	MOVQ(parameter("stack"), stack)
	MOVQ(parameter("tile"), shape)
	place("add")
	CMPB(at(shape, tileRoundAt), U8(0))
	JNE(here("round"))
	place("rounded")
	DECQ(then)
	JE(here("push"))
	SUBQ(U32(size), stack)
	for i, sum := range t.sums {
		VADDPS(at(stack, i*t.bytes()), sum, sum)
	}
	JMP(here("add"))
	place("push")
	CMPQ(parameter("count"), U32(1))
	JEQ(here("on"))
	for i, sum := range t.sums {
		VMOVUPS(sum, at(stack, i*t.bytes()))
	}
	t.clear()
	ADDQ(U32(size), stack)
	MOVQ(stack, parameter("stack"))
	place("on")
}

// eachInC calls move for each vector of the tile with its place in c.
func (t *tile) eachInC(move func(sum reg.VecVirtual, m Mem)) {
	c, row := argument("c"), t.field(tileRowCAt)
	var column reg.GPVirtual
	if t.columns > 1 {
		column = t.field(tileColumnCAt)
	}
	n := t.columns * t.perColumn
	for i := range t.rows {
		for j := range n {
			m := at(c, j%t.perColumn*t.bytes())
			if j >= t.perColumn {
				m.Index, m.Scale = column, 1
			}
			move(t.sums[i*n+j], m)
		}
		if i < t.rows-1 {
			ADDQ(row, c)
		}
	}
}
