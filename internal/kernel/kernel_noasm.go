//go:build !amd64

package kernel

func supported(l level) bool { return l == portable }

func chain(c, a, b []float32, t *Tile, blocks []Block, start begin, from []float32) {
	chainPortable(c, a, b, t, blocks, start, from)
}

func chainTree(c, a, b []float32, t *Tile, blocks []Block, stack []float32) {
	chainTreeSteps(c, a, b, t, blocks, stack)
}

func fetch(x []float32, lines []int) {}

func fetchesLines(t *Tile) bool { return false }

func add(dst, x, y []float32) { addPortable(dst, x, y) }

func momentum(w2, v2, w, v, g []float32, scale, lr, mu, decay float32, _ bool) bool {
	return momentumPortable(w2, v2, w, v, g, scale, lr, mu, decay)
}

func nesterov(w2, v2, w, v, g []float32, scale, lr, mu, decay float32, _ bool) bool {
	return nesterovPortable(w2, v2, w, v, g, scale, lr, mu, decay)
}

func finite(x []float32) bool { return finitePortable(x) }
