//go:build !amd64

package kernel

func supported(l level) bool { return l == portable }

func chain(c []float32, ldc, rows int, a []float32, rowA, stepA int, b []float32, blocks []Block, zero bool) {
	chainPortable(c, ldc, rows, a, rowA, stepA, b, blocks, zero)
}

func add(dst, x, y []float32) { addPortable(dst, x, y) }

func momentum(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) {
	momentumPortable(w2, v2, w, v, g, scale, lr, mu, decay)
}

func nesterov(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) {
	nesterovPortable(w2, v2, w, v, g, scale, lr, mu, decay)
}

func finite(x []float32) bool { return finitePortable(x) }
