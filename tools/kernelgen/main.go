package main

import (
	"flag"
	"fmt"
	"os"

	. "github.com/mmcloughlin/avo/build"
)

func main() {
	set := flag.String("set", "avx2", "instruction set: avx2 or avx512")
	flag.Parse() // with avo's own flags, which Generate reads
	v, ok := sets[*set]
	if !ok {
		fmt.Fprintf(os.Stderr, "kernelgen: instruction set %q is unknown (allowed: avx2, avx512)\n", *set)
		os.Exit(2)
	}
	chain(v)
	add(v)
	momentum(v)
	nesterov(v)
	finite(v)
	activations(v)
	pools(v)
	lrn(v)
	drawMasks(v)
	applyMasks(v)
	toBfloat16(v)
	fromBfloat16(v)
	magnitude(v)
	toInt8(v)
	fromInt8(v)
	if !v.wide() { // nothing here gains from wider vectors
		fetch(v)
		transpose(v)
		addLanes(v, 1)
		addLanes(v, 2)
	}
	peak(v)
	Generate()
}
