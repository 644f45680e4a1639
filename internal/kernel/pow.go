package kernel

// Pow returns x to the power of y for finite x >= 0 and finite y, with an error
// of at most 0.501 units in the last place. 0 to the power of 0 is 1; a
// negative x gives NaN.
func Pow(x, y float32) float32 {
	if y == 0 {
		return 1
	}
	return float32(exp(float64(float64(y) * log(float64(x)))))
}
