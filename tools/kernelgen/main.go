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
	ofPairs := v
	ofPairs.pairs = true
	chain(ofPairs)
	add(v)
	updates(v)
	finite(v)
	activations(v)
	pools(v)
	lrn(v)
	drawMasks(v)
	applyMasks(v)
	toBfloat16(v)
	fromBfloat16(v)
	round(v)
	addRound(v)
	pair(v)
	pairNext(v)
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
	if out := flag.Lookup("out").Value.String(); out != "" && out != "-" {
		if err := rewrite(out); err != nil {
			fmt.Fprintf(os.Stderr, "kernelgen: %v\n", err)
			os.Exit(1)
		}
	}
}
