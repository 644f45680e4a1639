package kernel

import "math"

// Response is what local response normalisation is told: the numbers of channels
// of a window before and after its centre, and the constants of
//
//	d_c = K + Alpha * (the sum over the window of c, in ascending order from +0, of x_j^2)
type Response struct {
	Before, After  int
	K, Alpha, Beta float32
}

// LRN normalises one pixel of a lane block:
//
//	f_c = d_c^-Beta   y_c = x_c * f_c
//
//	y, d, f, x (C, Lanes)
//
// Each operation is rounded by itself; for Beta = 3/4 f is rounded from float64's
// 1/(root * the root of root), root being that of d. d and f may be nil, both of
// them, when they are not written. The results overlap nothing.
func LRN(y, d, f, x []float32, r *Response) {
	if checked {
		checkElements([][]float32{y}, [][]float32{x})
		if d != nil {
			checkElements([][]float32{y, d, f}, nil)
		}
		checkResponse(len(y), r)
	}
	lrn(y, d, f, x, r)
}

// LRNBack computes the gradients of one pixel of a lane block:
//
//	q_c = dy_c * (x_c * f_c) / d_c
//	s_c = the sum over all j in whose window c is, in ascending order from +0, of q_j
//	dx_c = dy_c*f_c - (2*Alpha*Beta*x_c)*s_c
//
//	dx, dy, x, d, f, q (C, Lanes)
//
// Each operation is rounded by itself. q is written for use within the call. The
// results overlap nothing.
func LRNBack(dx, dy, x, d, f, q []float32, r *Response) {
	if checked {
		checkElements([][]float32{dx, q}, [][]float32{dy, x, d, f})
		checkResponse(len(dx), r)
	}
	lrnBack(dx, dy, x, d, f, q, r)
}

// twice is what the gradient's second term begins with.
func (r *Response) twice() float32 { return 2 * r.Alpha * r.Beta }

func lrnPortable(y, d, f, x []float32, r *Response) {
	channels := len(y) / Lanes
	for c := range channels {
		var sum [Lanes]float32
		for j := max(0, c-r.Before); j <= min(channels-1, c+r.After); j++ {
			for lane, v := range x[j*Lanes:][:Lanes] {
				sum[lane] += float32(v * v)
			}
		}
		for lane, s := range sum {
			at := c*Lanes + lane
			below := r.K + float32(r.Alpha*s)
			factor := r.power(below)
			y[at] = x[at] * factor
			if d != nil {
				d[at], f[at] = below, factor
			}
		}
	}
}

// power returns d^-Beta. The usual 3/4 takes two square roots, which are exact
// but for their rounding on every machine.
func (r *Response) power(d float32) float32 {
	if r.Beta == 0.75 {
		root := math.Sqrt(float64(d))
		return float32(1 / (root * math.Sqrt(root)))
	}
	return Pow(d, -r.Beta)
}

func lrnBackPortable(dx, dy, x, d, f, q []float32, r *Response) {
	for i := range dx {
		q[i] = dy[i] * (x[i] * f[i]) / d[i]
	}
	channels, twice := len(dx)/Lanes, r.twice()
	for c := range channels {
		var sum [Lanes]float32
		for j := max(0, c-r.After); j <= min(channels-1, c+r.Before); j++ {
			for lane, v := range q[j*Lanes:][:Lanes] {
				sum[lane] += v
			}
		}
		for lane, s := range sum {
			at := c*Lanes + lane
			dx[at] = float32(dy[at]*f[at]) - float32(twice*x[at]*s)
		}
	}
}
