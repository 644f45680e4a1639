package kernel

// chainPortable is Chain, or ChainZero where zero is set, in plain Go.
//
// It advances the chains of four columns at a time, which are independent, and
// keeps them as float64s that hold float32 values.
func chainPortable(c []float32, ldc, rows int, a []float32, rowA, stepA int, b []float32, blocks []Block, zero bool) {
	for i := range rows {
		for j := 0; j < Lanes; j += 4 {
			to := c[i*ldc+j:][:4:4]
			if zero {
				clear(to)
			}
			chain4(to, a, i*rowA, stepA, b, j, blocks)
		}
	}
}

// chain4 is four columns of one row of chainPortable: c (4). The row begins at
// row in a, the columns at column in each row of b.
func chain4(c, a []float32, row, stepA int, b []float32, column int, blocks []Block) {
	c0, c1, c2, c3 := float64(c[0]), float64(c[1]), float64(c[2]), float64(c[3])
	for _, block := range blocks {
		ai, bi := row+block.A, column+block.B
		for range block.K {
			x := float64(a[ai])
			y := b[bi:][:4:4]
			ai += stepA
			bi += Lanes
			p0, p1, p2, p3 := x*float64(y[0]), x*float64(y[1]), x*float64(y[2]), x*float64(y[3])
			s0, s1, s2, s3 := p0+c0, p1+c1, p2+c2, p3+c3
			if rounding(s0) {
				s0 = toOdd(p0, c0, s0)
			}
			if rounding(s1) {
				s1 = toOdd(p1, c1, s1)
			}
			if rounding(s2) {
				s2 = toOdd(p2, c2, s2)
			}
			if rounding(s3) {
				s3 = toOdd(p3, c3, s3)
			}
			c0, c1, c2, c3 = float64(float32(s0)), float64(float32(s1)), float64(float32(s2)), float64(float32(s3))
		}
	}
	c[0], c[1], c[2], c[3] = float32(c0), float32(c1), float32(c2), float32(c3)
}
