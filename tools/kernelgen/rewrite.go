package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Neither avo nor Go's assembler knows VDPBF16PS. avo chooses its registers and
// prints it all the same; in the file that it has written, the instruction is
// replaced by its bytes.

// dotPairs advances sum by the products of two vectors of pairs: VDPBF16PS.
func dotPairs(x, y, sum reg.VecVirtual) {
	Instruction(&ir.Instruction{
		Opcode:   "VDPBF16PS",
		Operands: []operand.Op{x, y, sum},
		Inputs:   []operand.Op{x, y, sum},
		Outputs:  []operand.Op{sum},
		ISA:      []string{"AVX512_BF16"},
	})
}

var dotPairsLine = regexp.MustCompile(`(?m)^\tVDPBF16PS +Z(\d+), Z(\d+), Z(\d+)$`)

// rewrite replaces the instructions in a file that Generate has written.
func rewrite(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text = dotPairsLine.ReplaceAllFunc(text, func(line []byte) []byte {
		var z [3]int
		for i, number := range dotPairsLine.FindSubmatch(line)[1:] {
			z[i], _ = strconv.Atoi(string(number))
		}
		e := encodeDotPairs(z[0], z[1], z[2])
		return fmt.Appendf(nil, "\tLONG $0x%02x%02x%02x%02x; WORD $0x%02x%02x // VDPBF16PS Z%d, Z%d, Z%d",
			e[3], e[2], e[1], e[0], e[5], e[4], z[0], z[1], z[2])
	})
	return os.WriteFile(path, text, 0o644)
}

// encodeDotPairs returns VDPBF16PS x, y, sum: EVEX.512.F3.0F38.W0 52 /r, where
// reg is sum, vvvv is y and rm is x.
func encodeDotPairs(x, y, sum int) [6]byte {
	// flip moves bit from of n, inverted, to bit to.
	flip := func(n, from, to int) byte { return byte(^n>>from&1) << to }
	return [6]byte{
		0x62,
		flip(sum, 3, 7) | flip(x, 4, 6) | flip(x, 3, 5) | flip(sum, 4, 4) | 0b10, // R X B R', 0F38
		byte(^y&15)<<3 | 0b100 | 0b10,                                            // vvvv, F3
		0b10<<5 | flip(y, 4, 3),                                                  // 512 bits, V'
		0x52,
		0b11<<6 | byte(sum&7)<<3 | byte(x&7),
	}
}
