package kernel

const (
	// Lanes is the number of columns of a tile: the values of b that stand
	// together, and the images whose activations do.
	Lanes = 16
	// TileRows is the number of rows of a full tile.
	TileRows = 6
)

// Block is one stretch of a chain: the offsets, in values, of its first
// elements in a and b, and its length K >= 0.
type Block struct{ A, B, K int }

// Chain continues one chain of fused multiply-adds for each element of a tile:
//
//	for each block in order, for k = 0 .. K-1:
//	    c[i*ldc+j] = fma(a[block.A + i*rowA + k*stepA], b[block.B + k*16 + j], c[i*ldc+j])
//
// for 0 <= i < rows and 0 <= j < 16, where 1 <= rows <= 6 and fma rounds once,
// to nearest float32, ties to even. So c has rows rows of 16 values, ldc apart,
// b has panel rows of 16 values that lie one after the other, and a is read
// where it lies. No block, or blocks of K = 0, leave c as it is.
//
// Strides and offsets may have any sign as long as what they lead to is inside
// the slices. The blocks are read, not kept. c overlaps neither a nor b. Calls
// whose tiles do not overlap may run at the same time.
func Chain(c []float32, ldc, rows int, a []float32, rowA, stepA int, b []float32, blocks []Block) {
	if checked {
		checkChain(c, ldc, rows, a, rowA, stepA, b, blocks)
	}
	chain(c, ldc, rows, a, rowA, stepA, b, blocks, false)
}

// ChainZero is Chain with chains that start from +0 and not from c's values,
// which it does not read.
func ChainZero(c []float32, ldc, rows int, a []float32, rowA, stepA int, b []float32, blocks []Block) {
	if checked {
		checkChain(c, ldc, rows, a, rowA, stepA, b, blocks)
	}
	chain(c, ldc, rows, a, rowA, stepA, b, blocks, true)
}

// Add computes dst = x + y.
//
//	dst, x, y (n), n = len(dst)
//
// dst may be x or y; otherwise it overlaps neither.
func Add(dst, x, y []float32) {
	if checked {
		checkElements([][]float32{dst}, [][]float32{x, y})
	}
	add(dst, x, y)
}

// Momentum computes one step of momentum, each operation rounded by itself:
//
//	d  = g*scale + decay*w
//	v2 = mu*v - lr*d
//	w2 = w + v2
//
//	w2, v2, w, v, g (n), n = len(w2)
//
// w2 may be w and v2 may be v; otherwise the results overlap nothing.
func Momentum(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) {
	if checked {
		checkElements([][]float32{w2, v2}, [][]float32{w, v, g})
	}
	momentum(w2, v2, w, v, g, scale, lr, mu, decay)
}

// Nesterov computes one step of Nesterov's momentum, each operation rounded by
// itself:
//
//	d  = g*scale + decay*w
//	v2 = mu*v - lr*d
//	w2 = w + (mu*v2 - lr*d)
//
//	w2, v2, w, v, g (n), n = len(w2)
//
// w2 may be w and v2 may be v; otherwise the results overlap nothing.
func Nesterov(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) {
	if checked {
		checkElements([][]float32{w2, v2}, [][]float32{w, v, g})
	}
	nesterov(w2, v2, w, v, g, scale, lr, mu, decay)
}

// Finite reports whether x (n) holds neither a NaN nor an infinity. It reports
// true for no values.
func Finite(x []float32) bool { return finite(x) }
