package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// fetch writes kernel.Fetch: one prefetch to the second cache for each line.
func fetch(v set) {
	TEXT("fetch"+v.name, NOSPLIT, "func(x *float32, lines int)")
	Doc("fetch" + v.name + " is Fetch of a number of lines of 64 bytes, more than 0.")
	Pragma("noescape")
	x, lines := argument("x"), argument("lines")
	Label("line")
	PREFETCHT1(Mem{Base: x})
	ADDQ(U32(64), x)
	DECQ(lines)
	JNE(LabelRef("line"))
	RET()
}
