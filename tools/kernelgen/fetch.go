package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
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
