package kernel

import "math"

// The portable forms of the elementwise kernels. The conversions round each
// product by itself: without them a compiler may fuse it with the sum it
// belongs to.

func addPortable(dst, x, y []float32) {
	x, y = x[:len(dst)], y[:len(dst)]
	for i := range dst {
		dst[i] = x[i] + y[i]
	}
}

func momentumPortable(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) bool {
	n := len(w2)
	v2, w, v, g = v2[:n], w[:n], v[:n], g[:n]
	finite := true
	for i := range w2 {
		d := float32(g[i]*scale) + float32(decay*w[i])
		u := float32(mu*v[i]) - float32(lr*d)
		v2[i] = u
		w2[i] = w[i] + u
		finite = finite && isFinite(w2[i])
	}
	return finite
}

func nesterovPortable(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) bool {
	n := len(w2)
	v2, w, v, g = v2[:n], w[:n], v[:n], g[:n]
	finite := true
	for i := range w2 {
		d := float32(lr * (float32(g[i]*scale) + float32(decay*w[i])))
		u := float32(mu*v[i]) - d
		v2[i] = u
		w2[i] = w[i] + (float32(mu*u) - d)
		finite = finite && isFinite(w2[i])
	}
	return finite
}

func finitePortable(x []float32) bool {
	for _, v := range x {
		if !isFinite(v) {
			return false
		}
	}
	return true
}

// isFinite tells whether x is neither a NaN nor an infinity.
func isFinite(x float32) bool {
	const exponent = 0xff << 23
	return math.Float32bits(x)&exponent != exponent
}
