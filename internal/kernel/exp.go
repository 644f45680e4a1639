package kernel

import "math"

// The functions of this file and of its neighbours take and return float32 and
// work in float64, with additions, multiplications, divisions and nothing
// else, each rounded by itself: every product that meets a sum is converted
// first, so that no compiler fuses the two. That makes them the same on every
// machine, and so precise before the last rounding that it alone counts.

const (
	log2E = 0x1.71547652b82fep+00
	// ln2High has 32 bits, so that its product with an exponent is exact.
	ln2High = 0x1.62e42feep-01
	ln2Low  = 0x1.a39ef35793c76p-33
	// roundShift is 1.5 * 2^52: adding it leaves a float64 no bits after the
	// point, and the integer in the low bits of its pattern.
	roundShift = 0x1.8p52
	// expLimit bounds the argument of exp. Beyond it the result is past
	// float32's largest or below half its smallest number by far.
	expLimit = 200
)

// Exp returns e to the power of x, with an error of at most 0.501 units in the
// last place: 0 below about -103.97, +Inf above about 88.72, NaN for NaN.
func Exp(x float32) float32 { return float32(exp(float64(x))) }

// exp returns e^x with a relative error of at most 2^-40, for x clamped to
// +-expLimit. With n the integer nearest to x/ln 2, it is 2^n times the Taylor
// series of e^r, r = x - n ln 2, |r| <= 0.347, whose terms after the tenth
// power sum to less than 2^-41.
func exp(x float64) float64 {
	if x > expLimit {
		x = expLimit
	}
	if x < -expLimit {
		x = -expLimit
	}
	shifted := float64(x*log2E) + roundShift
	n := shifted - roundShift
	r := x - float64(n*ln2High)
	r -= float64(n * ln2Low)

	r2 := r * r
	r4 := r2 * r2
	p0 := 1 + r + float64(r2*(0.5+float64(r*(1.0/6))))
	p1 := 1.0/24 + float64(r*(1.0/120)) + float64(r2*(1.0/720+float64(r*(1.0/5040))))
	p2 := 1.0/40320 + float64(r*(1.0/362880)) + float64(r2*(1.0/3628800))
	p := p0 + float64(r4*(p1+float64(r4*p2)))

	power := math.Float64frombits((math.Float64bits(shifted) + 1023) << 52)
	return p * power
}

// Sigmoid returns 1 / (1 + e^-x), with an error of at most 0.501 units in the
// last place.
func Sigmoid(x float32) float32 { return float32(1 / (1 + exp(-float64(x)))) }
