package kernel

import "math"

// A pair is two factors of a chain that follow each other, rounded to bfloat16
// as ToBfloat16 does, in one 32-bit word: the earlier in its upper half. Pairs
// are kept as float32s, so that whatever moves values moves pairs; as numbers
// they mean nothing.

// Pair makes the pairs of upper[i], the earlier factor, and lower[i]; lower may
// be nil: zeros.
//
//	dst, upper, lower (n), n = len(dst)
//
// dst overlaps neither.
func Pair(dst, upper, lower []float32) {
	if checked {
		checkElements([][]float32{dst}, [][]float32{upper})
		if lower != nil {
			checkElements([][]float32{dst}, [][]float32{lower})
		}
	}
	if lower == nil {
		zeros := &zeroLanes
		for len(dst) > len(zeros) {
			pairs(dst[:len(zeros)], upper[:len(zeros)], zeros[:])
			dst, upper = dst[len(zeros):], upper[len(zeros):]
		}
		lower = zeros[:len(dst)]
	}
	pairs(dst, upper, lower)
}

// zeroLanes is what an odd factor pairs with.
var zeroLanes [8 * Lanes]float32

// PairNext makes the pairs of neighbours, x[2i] and x[2i+1], where an odd last
// one pairs with zero.
//
//	dst (ceil(n/2))   x (n)
//
// dst does not overlap x.
func PairNext(dst, x []float32) {
	n := len(x) / 2
	if checked {
		checkElements([][]float32{dst[:(len(x)+1)/2]}, [][]float32{x})
	}
	pairNext(dst[:n], x[:2*n])
	if len(x)%2 == 1 {
		dst[n] = pairOf(x[2*n], 0)
	}
}

// PairRows makes the pairs of rows of 16 values, row 2i and row 2i+1, where an odd
// last one pairs with zeros.
//
//	dst (ceil(n/2), 16)   x (n, 16)
//
// dst does not overlap x.
func PairRows(dst, x []float32) {
	if checked {
		checkElements([][]float32{dst[:(len(x)/Lanes+1)/2*Lanes]}, [][]float32{x})
	}
	for ; len(x) >= 2*Lanes; dst, x = dst[Lanes:], x[2*Lanes:] {
		pairs(dst[:Lanes], x[:Lanes], x[Lanes:2*Lanes])
	}
	if len(x) > 0 {
		pairs(dst[:Lanes], x[:Lanes], zeroLanes[:Lanes])
	}
}

// SplitPair returns two pairs of one: of its lower factor behind zero, and of its
// upper one before zero.
func SplitPair(pair float32) (lower, upper float32) {
	u := math.Float32bits(pair)
	return math.Float32frombits(u & (1<<16 - 1)), math.Float32frombits(u &^ (1<<16 - 1))
}

func pairOf(upper, lower float32) float32 {
	return math.Float32frombits(uint32(bfloat16(upper))<<16 | uint32(bfloat16(lower)))
}

func pairsPortable(dst, upper, lower []float32) {
	upper, lower = upper[:len(dst)], lower[:len(dst)]
	for i := range dst {
		dst[i] = pairOf(upper[i], lower[i])
	}
}

func pairNextPortable(dst, x []float32) {
	for i := range dst {
		dst[i] = pairOf(x[2*i], x[2*i+1])
	}
}

// chainPairsPortable is Chain and its kin of pairs, in plain Go.
func chainPairsPortable(c, a, b []float32, t *Tile, blocks []Block, start begin, from []float32) {
	for i := range t.Rows {
		for w := range t.Columns {
			for j := range Lanes {
				sum := &c[i*t.RowC+w*t.ColumnC+j]
				switch start {
				case fromZero:
					*sum = 0
				case fromRow:
					*sum = from[i]
				}
				for _, block := range blocks {
					ai, bi := block.A+i*t.RowA, block.B+w*t.ColumnB+j
					for range block.K {
						x, y := math.Float32bits(a[ai]), math.Float32bits(b[bi])
						*sum = flushedFMA(x&^(1<<16-1), y&^(1<<16-1), *sum)
						*sum = flushedFMA(x<<16, y<<16, *sum)
						ai, bi = ai+t.StepA, bi+t.StepB
					}
				}
			}
		}
	}
}

// smallest is float32's smallest normal number, and almost what is rounded to it
// where the exponent has no bound: half the distance to the number below it.
const (
	smallest = 0x1p-126
	almost   = smallest - 0x1p-151
)

// flushedFMA returns FMA of the factors that have these bits, where subnormal
// numbers are taken as zeros of their sign, and so is a result that, rounded to 24
// bits, is below the smallest normal number.
func flushedFMA(a, b uint32, c float32) float32 {
	p := float64(flushed(math.Float32frombits(a))) * float64(flushed(math.Float32frombits(b)))
	d := float64(flushed(c))
	s := p + d
	if rounding(s) {
		s = toOdd(p, d, s)
	}
	if s != 0 && s < almost && s > -almost {
		return float32(math.Copysign(0, s))
	}
	return float32(s)
}

// flushed returns x, or a zero of its sign where it is subnormal.
func flushed(x float32) float32 {
	if x < smallest && x > -smallest {
		return float32(math.Copysign(0, float64(x)))
	}
	return x
}
