package kernel

// Cos returns the cosine of x, -3.1416 <= x <= 3.1416, with an error of at most
// 0.501 units in the last place. Outside that range it is not a cosine.
//
// It is the Taylor series of the sine of y = pi/2 - |x|, |y| <= 1.5708, which,
// unlike that of the cosine, keeps its relative precision where the result is
// near 0.
func Cos(x float32) float32 {
	const (
		halfPiHigh = 0x1.921fb54442d18p+00
		halfPiLow  = 0x1.1a62633145c07p-54
	)
	u := float64(x)
	if u < 0 {
		u = -u
	}
	y := (halfPiHigh - u) + halfPiLow
	z := y * y
	p := -1.0 / 121645100408832000 // 1/19!
	p = 1.0/355687428096000 + float64(z*p)
	p = -1.0/1307674368000 + float64(z*p)
	p = 1.0/6227020800 + float64(z*p)
	p = -1.0/39916800 + float64(z*p)
	p = 1.0/362880 + float64(z*p)
	p = -1.0/5040 + float64(z*p)
	p = 1.0/120 + float64(z*p)
	p = -1.0/6 + float64(z*p)
	return float32(y + float64(float64(y*z)*p))
}
