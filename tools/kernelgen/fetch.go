package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// fetch writes kernel.Fetch: one prefetch to the second cache for each line.
func fetch(v set) {
	TEXT("fetch"+v.name, NOSPLIT, "func(x *float32, lines *int, count int)")
	Doc("fetch" + v.name + " is Fetch of a number of lines, more than 0.")
	Pragma("noescape")
	x, lines, count := argument("x"), argument("lines"), argument("count")
	line := GP64()
	Label("line")
	MOVQ(Mem{Base: lines}, line)
	PREFETCHT1(Mem{Base: x, Index: line, Scale: 1})
	ADDQ(U32(8), lines)
	DECQ(count)
	JNE(LabelRef("line"))
	RET()
}

// nextLines lays the Tile's Lines where the loops count them on, and after them
// its Next, and returns where that is.
func nextLines() Mem {
	lines := AllocLocal(16)
	t, x := argument("tile"), GP64()
	MOVQ(at(t, tileLinesAt), x)
	MOVQ(x, lines)
	MOVQ(at(t, tileNextAt), x)
	MOVQ(x, lines.Offset(8))
	return lines
}

// fetchLine fetches the next of the Tile's lines, if it has some: one each turn.
func fetchLine(lines Mem, here func(string) LabelRef, place func(string)) {
	line := GP64()
	MOVQ(lines, line)
	TESTQ(line, line)
	JEQ(here("stay"))
	MOVQ(Mem{Base: line}, line)
	ADDQ(lines.Offset(8), line)
	PREFETCHT1(Mem{Base: line})
	ADDQ(U32(8), lines)
	place("stay")
}

// aheadSteps is the length of blocks during which the next block is fetched:
// longer ones are what processors foresee by themselves.
const aheadSteps = 16

// ahead fetches the rows of a where the next block begins, and finds the
// distance there from this block's b.
func (t *tile) ahead(blocks reg.GPVirtual, here func(string) LabelRef, place func(string)) {
	t.next = GP64()
	XORQ(t.next, t.next)
	if t.columns > 1 {
		t.nextColumn = GP64()
		MOVQ(t.columnB, t.nextColumn)
	}
	CMPQ(parameter("count"), U32(1))
	JEQ(here("last"))
	d := GP64()
	MOVQ(at(blocks, blockBytes+blockAAt), d)
	SUBQ(at(blocks, blockAAt), d)
	SHLQ(U8(2), d)
	ADDQ(t.p, d)
	near := *t
	near.p = d
	near.p2 = d
	for i := range min(t.rows, rowsFromOne) {
		PREFETCHT0(near.row(i))
	}
	if t.rows > rowsFromOne {
		LEAQ(Mem{Base: d, Index: t.r, Scale: 1}, d)
		LEAQ(Mem{Base: d, Index: t.r3, Scale: 2}, d)
		for i := rowsFromOne; i < t.rows; i++ {
			PREFETCHT0(near.row(i))
		}
	}
	MOVQ(at(blocks, blockBytes+blockBAt), t.next)
	SUBQ(at(blocks, blockBAt), t.next)
	SHLQ(U8(2), t.next)
	if t.columns > 1 {
		ADDQ(t.next, t.nextColumn)
	}
	place("last")
}

// fetchB fetches what the next block has in place of the next row of b.
func (t *tile) fetchB() {
	PREFETCHT0(Mem{Base: t.q, Index: t.next, Scale: 1})
	if t.columns > 1 {
		PREFETCHT0(Mem{Base: t.q, Index: t.nextColumn, Scale: 1})
	}
}
