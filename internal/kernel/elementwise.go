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

func momentumPortable(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) {
	n := len(w2)
	v2, w, v, g = v2[:n], w[:n], v[:n], g[:n]
	for i := range w2 {
		d := float32(g[i]*scale) + float32(decay*w[i])
		u := float32(mu*v[i]) - float32(lr*d)
		v2[i] = u
		w2[i] = w[i] + u
	}
}

func nesterovPortable(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) {
	n := len(w2)
	v2, w, v, g = v2[:n], w[:n], v[:n], g[:n]
	for i := range w2 {
		d := float32(lr * (float32(g[i]*scale) + float32(decay*w[i])))
		u := float32(mu*v[i]) - d
		v2[i] = u
		w2[i] = w[i] + (float32(mu*u) - d)
	}
}

func finitePortable(x []float32) bool {
	const exponent = 0xff << 23
	for _, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			return false
		}
	}
	return true
}
