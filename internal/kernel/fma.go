package kernel

import "math"

const (
	// float32 keeps 23 of float64's 52 fraction bits; the other 29 hold halfway
	// exactly where a value lies in the middle of two neighbouring float32s.
	droppedBits = 1<<29 - 1
	halfway     = 1 << 28
	// twiceNormal is the bit pattern of 2^-126, float32's smallest normal
	// number, as a float64, shifted left to lose the sign.
	twiceNormal = (1023 - 126) << 53
)

// FMA returns a*b + c, rounded once to the nearest float32, ties to even: what
// hardware's fused multiply-add returns, on every machine.
//
// The product of two float32s is exact in float64. Its sum with c is rounded
// to 53 bits, and rounding that to 24 errs only where the first rounding moved
// the sum to the middle of two float32s, or where float32 has fewer than 24
// bits left. Those few are rounded again with care.
func FMA(a, b, c float32) float32 {
	p := float64(a) * float64(b)
	s := p + float64(c)
	if rounding(s) {
		s = toOdd(p, float64(c), s)
	}
	return float32(s)
}

// rounding reports whether rounding s to float32 may differ from rounding the
// exact sum: whether s is in the middle of two float32s or, being not zero,
// smaller than the smallest normal one.
func rounding(s float64) bool {
	bits := math.Float64bits(s)
	return bits&droppedBits == halfway || bits<<1-1 < twiceNormal-1
}

// toOdd returns p + c rounded to odd: the exact sum where float64 can hold it,
// otherwise that of its two neighbours whose last bit is 1. s is p + c rounded
// to nearest. A second rounding, to a type with at least two bits less, then
// gives what one rounding would have (Boldo and Melquiond, "Emulation of FMA
// and correctly rounded sums", 2008).
//
// The error of s comes from Knuth's TwoSum.
func toOdd(p, c, s float64) float64 {
	t := s - p
	e := (p - (s - t)) + (c - t)
	bits := math.Float64bits(s)
	if e == 0 || bits&1 != 0 {
		return s
	}
	if (e > 0) == (s > 0) {
		return math.Float64frombits(bits + 1)
	}
	return math.Float64frombits(bits - 1)
}
