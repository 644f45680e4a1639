package kernel

// Transpose makes panels of Lanes x Lanes values, whose rows are the lanes of
// columns that may lie anywhere in x:
//
//	dst[p*panel + i*row + j] = x[offsets[p*Lanes + j] + i]
//
// for 0 <= i, j < Lanes and each p of the ceil(len(offsets)/Lanes) panels. What
// the last panel has no offset for becomes +0.
//
// dst does not overlap x; row and panel >= 0.
func Transpose(dst []float32, row, panel int, x []float32, offsets []int) {
	if checked {
		checkTranspose(dst, row, panel, x, offsets)
	}
	transpose(dst, row, panel, x, offsets)
}

// AddLanes adds to each sum, one after the other, the lanes of one channel of
// some pixels:
//
//	for p = 0 .. pixels-1, for i = 0 .. lanes-1:
//	    sum[k] = sum[k] + x[p*step + k*Lanes + i]
//
// for 0 <= k < n, each addition rounded by itself.
//
//	sum (n), 0 <= n <= Lanes   0 <= lanes <= Lanes   pixels, step >= 0
func AddLanes(sum, x []float32, lanes, pixels, step int) {
	if checked {
		checkLanes(sum, x, lanes, pixels, step)
	}
	addLanes(sum, x, lanes, pixels, step)
}

func transposePortable(dst []float32, row, panel int, x []float32, offsets []int) {
	var none [Lanes]float32
	const quad = 4 // columns at a time, so that a row's values are written together
	for first := 0; first < len(offsets); first += Lanes {
		for j := 0; j < Lanes; j += quad {
			columns := [quad]*[Lanes]float32{&none, &none, &none, &none}
			for i := first + j; i < min(first+j+quad, len(offsets)); i++ {
				columns[i-first-j] = (*[Lanes]float32)(x[offsets[i]:])
			}
			a, b, c, d := columns[0], columns[1], columns[2], columns[3]
			for lane := range Lanes {
				to := (*[quad]float32)(dst[first/Lanes*panel+lane*row+j:])
				to[0], to[1], to[2], to[3] = a[lane], b[lane], c[lane], d[lane]
			}
		}
	}
}

func addLanesPortable(sum, x []float32, lanes, pixels, step int) {
	if lanes == 0 {
		return
	}
	for p := range pixels {
		x := x[p*step:]
		k := 0
		for ; k+4 <= len(sum); k += 4 {
			// Four sums side by side, for each waits for its last addition.
			a, b, c, d := x[k*Lanes:][:lanes], x[(k+1)*Lanes:][:lanes], x[(k+2)*Lanes:][:lanes], x[(k+3)*Lanes:][:lanes]
			s0, s1, s2, s3 := sum[k], sum[k+1], sum[k+2], sum[k+3]
			for i := range a {
				s0 += a[i]
				s1 += b[i]
				s2 += c[i]
				s3 += d[i]
			}
			sum[k], sum[k+1], sum[k+2], sum[k+3] = s0, s1, s2, s3
		}
		for ; k < len(sum); k++ {
			for _, v := range x[k*Lanes:][:lanes] {
				sum[k] += v
			}
		}
	}
}
