package kernel

import "math"

const ln2 = 0x1.62e42fefa39efp-01

// Log returns the natural logarithm of x, with an error of at most 0.501 units
// in the last place: -Inf for 0, +Inf for +Inf, NaN for NaN and below 0.
func Log(x float32) float32 { return float32(log(float64(x))) }

// Log1p returns the natural logarithm of 1 + x, with an error of at most 0.501
// units in the last place, however small x is: -Inf for -1, NaN below.
func Log1p(x float32) float32 { return float32(log1p(float64(x))) }

// Softplus returns log(1 + e^x), with an error of at most 0.501 units in the
// last place. Its derivative is Sigmoid.
func Softplus(x float32) float32 {
	// log(1 + e^x) = x + log(1 + e^-x): of the two, the one whose power does
	// not exceed 1.
	y := float64(x)
	if y > 0 {
		return float32(y + log1p(exp(-y)))
	}
	return float32(log1p(exp(y)))
}

// log returns the natural logarithm of x with a relative error of at most
// 2^-44, for x that is no subnormal float64: no float32 is. x is 2^e m with m in [sqrt(1/2), sqrt(2)), and log m is twice the
// series of atanh s, s = (m-1)/(m+1), |s| < 0.172.
func log(x float64) float64 {
	const (
		infinity = 0x7ff << 52
		smallest = 1 << 52             // first normal number
		rootHalf = 0x3fe6a09e_667f3bcd // sqrt(1/2)
	)
	bits := math.Float64bits(x)
	if bits-smallest >= infinity-smallest { // 0, below 0, infinite or NaN
		switch {
		case x == 0:
			return math.Inf(-1)
		case x < 0:
			return math.NaN()
		}
		return x
	}
	// The exponent that leaves a fraction from sqrt(1/2) on.
	e := int64(bits-rootHalf) >> 52
	m := math.Float64frombits(bits - uint64(e)<<52)

	f := m - 1
	s := f / (2 + f)
	z := s * s
	z2 := z * z
	z4 := z2 * z2
	q0 := 1.0/3 + float64(z*(1.0/5))
	q1 := 1.0/7 + float64(z*(1.0/9))
	q2 := 1.0/11 + float64(z*(1.0/13))
	q := q0 + float64(z2*q1) + float64(z4*(q2+float64(z2*(1.0/15))))
	t := 2 * s
	return float64(float64(e)*ln2) + (t + float64(float64(t*z)*q))
}

// log1p returns log(1 + x) with a relative error of at most 2^-43. What the sum
// 1 + x loses comes back through the derivative of log, 1/(1+x).
func log1p(x float64) float64 {
	u := 1 + x
	if u == 0 || u > math.MaxFloat64 {
		return log(u)
	}
	return log(u) + (x-(u-1))/u
}
