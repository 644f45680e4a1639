package kernel

import "math"

// Sums that others add up further as bfloat16s are rounded at each step, so that
// it does not matter where one stops adding and another goes on.

// Round rounds to bfloat16, as ToBfloat16 does, and keeps float32s, whose lower 16
// bits are then 0. A NaN stays NaN and an infinity as it is.
//
//	dst, x (n), n = len(dst)
//
// dst may be x; otherwise it does not overlap x.
func Round(dst, x []float32) {
	if checked {
		checkElements([][]float32{dst}, [][]float32{x})
	}
	round(dst, x)
}

// AddRound computes dst = x + y, rounds it to float32 as Add does and the result
// as Round does.
//
//	dst, x, y (n), n = len(dst)
//
// dst may be x or y; otherwise it overlaps neither.
func AddRound(dst, x, y []float32) {
	if checked {
		checkElements([][]float32{dst}, [][]float32{x, y})
	}
	addRound(dst, x, y)
}

func roundPortable(dst, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = rounded(v)
	}
}

func addRoundPortable(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = rounded(x[i] + y[i])
	}
}

func rounded(x float32) float32 { return math.Float32frombits(uint32(bfloat16(x)) << 16) }
