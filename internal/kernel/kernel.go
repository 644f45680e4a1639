package kernel

const (
	// Lanes is the number of values of a column of a tile: the values of b that
	// stand together, and the images whose activations do.
	Lanes = 16
	// TileRows is the number of rows of the largest tile.
	TileRows = 14
	// TileColumns is the number of columns of the largest tile.
	TileColumns = 2
)

// Tile says how the operands of a product lie. Distances are in values and may
// have any sign.
type Tile struct {
	Rows, Columns  int // 1 to TileRows and 1 to TileColumns
	RowC, ColumnC  int // between rows, and columns, of c
	RowA, StepA    int // between rows, and steps of k, of a
	StepB, ColumnB int // between steps of k, and columns, of b

	Pairs bool // elements of a and b are pairs: see Chain
	Far   bool // c is written past the caches; its vectors must begin at multiples of 64 bytes
	Round bool // the sums of ChainTree are bfloat16s

	// Next, unless nil, is where other weights begin, which kernels that fetch
	// lines bring into the second cache meanwhile: of those at Lines, in bytes from
	// Next, at most one for each LineSteps steps; short stretches fetch none. There
	// must be as many of them; what they lead to is not read and need not be there.
	Next  *float32
	Lines *int
}

// LineSteps is how many steps go to each of a Tile's Lines: those that the
// generator unrolls.
const LineSteps = 4

// FetchesLines tells whether the kernels in use follow Next and Lines.
func (t *Tile) FetchesLines() bool { return fetchesLines(t) }

// Values returns the number of values of a tile.
func (t *Tile) Values() int { return t.Rows * t.Columns * Lanes }

// Block is one stretch of a chain: the offsets, in values, of its first
// elements in a and b, and its length K >= 0. Then is 0 but for ChainTree.
type Block struct{ A, B, K, Then int }

// Chain continues one chain of fused multiply-adds for each element of a tile:
//
//	for each block in order, for k = 0 .. K-1:
//	    c[i*RowC + w*ColumnC + j] = fma(a[block.A + i*RowA + k*StepA],
//	        b[block.B + k*StepB + w*ColumnB + j], c[i*RowC + w*ColumnC + j])
//
// for 0 <= i < Rows, 0 <= w < Columns and 0 <= j < 16, where fma rounds once, to
// nearest float32, ties to even. No block, or blocks of K = 0, leave c as it is.
//
// Where a and b hold pairs, each k is two steps: with the upper factors, then with
// the lower ones. Subnormal factors and sums are then taken as zeros of their
// sign, and so are results below the smallest normal number.
//
// What is Far does not come into the caches, which saves reading what is
// overwritten: for results that nobody will read soon. Another goroutine may read it
// once an atomic operation, a channel or a lock has told it to.
//
// Strides and offsets may be what they like as long as what they lead to is
// inside the slices. Tile and blocks are read, not kept. c overlaps neither a
// nor b. Calls whose tiles do not overlap may run at the same time.
func Chain(c, a, b []float32, t *Tile, blocks []Block) {
	if checked {
		checkChain(c, a, b, t, blocks)
	}
	chain(c, a, b, t, blocks, fromC, nil)
}

// ChainZero is Chain with chains that start from +0 and not from c's values,
// which it does not read.
func ChainZero(c, a, b []float32, t *Tile, blocks []Block) {
	if checked {
		checkChain(c, a, b, t, blocks)
	}
	chain(c, a, b, t, blocks, fromZero, nil)
}

// ChainFrom is Chain with chains that start from the value of their row in from
// (Rows) and not from c's values, which it does not read.
func ChainFrom(c, from, a, b []float32, t *Tile, blocks []Block) {
	if checked {
		checkChain(c, a, b, t, blocks)
		checkFrom(t, from)
	}
	chain(c, a, b, t, blocks, fromRow, from)
}

// ChainTree computes several chains for each element of a tile and adds them up
// along a tree. Chains start from +0. A block whose Then is not 0 ends one:
// Then-1 sums, the latest first, are then taken from a stack and added to it,
//
//	sum = earlier sum + sum
//
// and the result is laid on the stack; that of the last block is c. So chains 0
// to 3 with Then of 1, 2, 1, 3 give (s0+s1) + (s2+s3).
//
// Where the tile says Round, each sum is rounded as Round does: a chain when it
// has ended, and each sum of two. It changes nothing of the other kernels.
//
// There is at least one block, the last one's Then is not 0, and no block takes
// more sums than there are. The stack has room for t.Values() values for each sum that lies on it at one time.
func ChainTree(c, a, b []float32, t *Tile, blocks []Block, stack []float32) {
	if checked {
		checkChain(c, a, b, t, blocks)
		checkTree(t, blocks, stack)
	}
	chainTree(c, a, b, t, blocks, stack)
}

// Fetch asks for lines of 64 bytes to be brought near, into the second cache, and
// does not wait: what is far away and will be needed in some microseconds. Lines
// are distances from x in bytes; what they lead to need not be there.
func Fetch(x []float32, lines []int) { fetch(x, lines) }

// begin says where chains start. The assembly knows the numbers.
type begin int

const (
	fromC begin = iota
	fromZero
	fromRow
)

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
// It reports whether w2 holds neither a NaN nor an infinity.
//
// w2 may be w and v2 may be v; otherwise the results overlap nothing. Where they
// are far, as a Tile's, w2 and v2 begin at multiples of 64 bytes.
func Momentum(w2, v2, w, v, g []float32, scale, lr, mu, decay float32, far bool) bool {
	if checked {
		checkUpdate(w2, v2, w, v, g, far)
	}
	return momentum(w2, v2, w, v, g, scale, lr, mu, decay, far)
}

// Nesterov is Momentum in Nesterov's form:
//
//	d  = g*scale + decay*w
//	v2 = mu*v - lr*d
//	w2 = w + (mu*v2 - lr*d)
func Nesterov(w2, v2, w, v, g []float32, scale, lr, mu, decay float32, far bool) bool {
	if checked {
		checkUpdate(w2, v2, w, v, g, far)
	}
	return nesterov(w2, v2, w, v, g, scale, lr, mu, decay, far)
}

// Finite reports whether x (n) holds neither a NaN nor an infinity. It reports
// true for no values.
func Finite(x []float32) bool { return finite(x) }
