package optim

import "math"

// The functions of this file are the float64 routines behind the schedules.
// They use + - * / and exact operations (Floor, Frexp, Ldexp) alone, in a fixed
// order, so that they have the same bits everywhere; math.Exp and its kin have
// assembly forms on some platforms and promise no such thing.
//
// Relative error against the true value: ln and exp below 1e-15 times
// (1+|argument or result|), power below 1e-12 while the result is a normal
// float32, cosPi below 1e-15 in absolute terms. All far below half a unit of the
// float32 they end as (6e-8).

var inf32 = float32(math.Inf(1))

// ln2 = ln2High + ln2Low; ln2High has 33 trailing zero bits, so that its product
// with an exponent is exact.
const (
	ln2High = 6.93147180369123816490e-01
	ln2Low  = 1.90821492927058770002e-10
)

// horner returns c[0] + c[1]*x + c[2]*x^2 + ..., each product and sum rounded.
func horner(x float64, c []float64) float64 {
	sum := 0.0
	for i := len(c) - 1; i >= 0; i-- {
		sum = float64(sum*x) + c[i]
	}
	return sum
}

// Taylor coefficients: 1/k! and 1/(2k+1), filled once; divisions round alike everywhere.
var expSeries, atanhSeries, cosSeries, sinSeries = func() (e, a, c, s []float64) {
	factorial := 1.0
	for k := range 19 {
		if k > 0 {
			factorial *= float64(k) // exact up to 18!
		}
		e = append(e, 1/factorial)
		sign := float64(1 - k&2)
		if k%2 == 0 {
			c = append(c, sign/factorial)
		} else {
			s = append(s, sign/factorial)
		}
	}
	for k := range 14 {
		a = append(a, 1/float64(2*k+1))
	}
	return e, a, c, s
}()

// ln returns the natural logarithm of a finite x > 0.
//
// x = f * 2^e with f in [sqrt(1/2), sqrt(2)); ln f = 2*atanh((f-1)/(f+1)) by its series.
func ln(x float64) float64 {
	f, e := math.Frexp(x)
	if f < math.Sqrt2/2 {
		f *= 2
		e--
	}
	t := (f - 1) / (f + 1)
	log := 2 * float64(t*horner(float64(t*t), atanhSeries))
	return float64(float64(e)*ln2High) + (float64(float64(e)*ln2Low) + log)
}

// exp returns e^x; 0 where that is below, +Inf where it is above what float64 holds.
//
// x = k*ln2 + r with |r| <= ln2/2; e^r by its series, then times 2^k.
func exp(x float64) float64 {
	switch {
	case x != x:
		return x
	case x > 710:
		return math.Inf(1)
	case x < -746:
		return 0
	}
	k := math.Floor(float64(x*math.Log2E) + 0.5)
	r := (x - float64(k*ln2High)) - float64(k*ln2Low)
	return math.Ldexp(horner(r, expSeries), int(k))
}

// maxInteger is the largest exponent taken by repeated multiplication; each
// adds a rounding, so beyond it the logarithm is more exact.
const maxInteger = 1024

// power returns x^y for x >= 0, which may be +Inf, and finite y; 0^0 is 1. Integer exponents
// up to 1024 are repeated multiplication by squares, from the lowest bit up.
func power(x, y float64) float64 {
	if y < 0 {
		return 1 / power(x, -y)
	}
	if y == math.Floor(y) && y <= maxInteger {
		result := 1.0
		for n := int(y); n > 0; n >>= 1 {
			if n&1 == 1 {
				result = float64(result * x)
			}
			x = float64(x * x)
		}
		return result
	}
	if x == 0 || math.IsInf(x, 1) {
		return x
	}
	return exp(float64(y * ln(x)))
}

// cosPi returns cos(pi*x) for x in [0, 1]: exactly 1, 0 and -1 at 0, 1/2 and 1,
// and cosPi(1-x) = -cosPi(x) where 1-x is exact.
func cosPi(x float64) float64 {
	switch {
	case x > 0.5:
		return -cosPi(1 - x)
	case x > 0.25:
		a := float64(math.Pi * (0.5 - x))
		return float64(a * horner(float64(a*a), sinSeries))
	}
	a := float64(math.Pi * x)
	return horner(float64(a*a), cosSeries)
}
