package cpu

import "github.com/muster-train/muster/internal/kernel"

// column is a channel of a group at a tap.
type column struct{ c, r, s int }

// weightGradient is the gradient of a layer's weights: for each shard one chain
// over output pixels and images, with dy's channels as rows and input channels
// as columns. The transposed inputs stand in panels of 16 columns:
//
//	[lane block][pixel][group][panel][lane][column of the panel]
//
// Where a group has at least 16 channels, the columns are the channels at one
// tap. Otherwise they are the channels at all taps, as im2col has them, and
// panels are made piece by piece while they are used.
type weightGradient struct {
	im2col  bool
	columns int // of a group: at one tap, or at all
	panels  int // of a group
	rows    int // of the unit of work, at most
	width   int // panels of the unit of work, at most

	rowUnits, panelUnits int

	source    []int     // place of each column among a pixel's activations of the group
	taps      []column  // im2col: channel and tap of each column
	x         []float32 // panels; nil for im2col
	dstRow    int       // values of an output channel in the vector
	dstColumn int       // distance of columns there
	dst       []int     // place there of each column; nil: dstColumn apart
	dstTap    []int     // place there of each tap's first column

	// of the calls at hand
	dy []float32
}

const (
	gradientRows   = 28 // rows of a unit
	gradientPanels = 4  // panels of a unit
	chainBlocks    = 32 // blocks of one call of the kernel
	im2colBlocks   = 4  // as chainBlocks, and panels are made for
)

func (d *weightGradient) prepareConv(l *matmul) {
	kernelValues := l.spread.kernel
	d.dstRow = l.cg * kernelValues
	if l.cg >= lanes || len(l.taps) == 1 {
		d.columns, d.dstColumn = l.cg, kernelValues
		for c := range l.cg {
			d.source = append(d.source, c*lanes)
		}
		for _, t := range l.taps {
			d.dstTap = append(d.dstTap, t.r*l.geometry.columns+t.s)
		}
	} else {
		d.im2col = true
		d.columns = l.cg * len(l.taps)
		d.dstTap = []int{0}
		for c := range l.cg {
			for _, t := range l.taps {
				d.taps = append(d.taps, column{c, t.r, t.s})
				d.dst = append(d.dst, c*kernelValues+t.r*l.geometry.columns+t.s)
			}
		}
	}
	d.prepare(l)
}

// prepareDense takes the columns in the vector's order (channel, pixel), while
// the activations have the pixel outermost.
func (d *weightGradient) prepareDense(l *matmul) {
	channels, pixels := l.spread.channels, l.spread.kernel
	d.columns, d.dstRow, d.dstColumn, d.dstTap = channels*pixels, channels*pixels, 1, []int{0}
	for c := range channels {
		for i := range pixels {
			d.source = append(d.source, (i*channels+c)*lanes)
		}
	}
	d.prepare(l)
}

func (d *weightGradient) prepare(l *matmul) {
	p := l.p
	d.panels = (d.columns + lanes - 1) / lanes
	d.width = evenly(d.panels, gradientPanels)
	d.rows = evenly((l.kg+tileRows-1)/tileRows, gradientRows/tileRows) * tileRows
	d.rowUnits = (l.kg + d.rows - 1) / d.rows
	d.panelUnits = (d.panels + d.width - 1) / d.width
	need := stackDepth(p.options.Images) * d.rows * d.width * lanes
	if d.im2col {
		need += im2colBlocks * d.width * lanes * lanes
	} else {
		p.arena.reserve(&d.x, p.mostBlocks*l.inPixels*l.groups*d.panels*lanes*lanes)
	}
	p.needScratch(need)
}

// units returns the units of work: groups x taps x rows x panels, the last innermost.
func (d *weightGradient) units(l *matmul) int {
	return l.groups * len(d.dstTap) * d.rowUnits * d.panelUnits
}

// gradient writes the sums of the weights' and the biases' gradients of all
// nodes. Weights of taps that touch no image keep the zero they began with.
func (l *matmul) gradient(dy []float32) {
	l.dw.dy = dy
	if !l.dw.im2col {
		l.p.pool.run(l.p.blocks*l.inPixels, (*transposeTask)(l))
	}
	l.p.pool.run(l.dw.units(l)+l.biasUnits(), (*gradientTask)(l))
}

// piece is a unit of work: rows and panels at a tap, of a group.
type piece struct {
	group, tap     int
	row, rows      int // first output channel in the group, and number
	panel, panels  int
	ldc            int
	columns, first int // columns that are not filling, and the first
}

func (d *weightGradient) piece(l *matmul, unit int) piece {
	var u piece
	u.panel = unit % d.panelUnits * d.width
	unit /= d.panelUnits
	u.row = unit % d.rowUnits * d.rows
	unit /= d.rowUnits
	u.tap, u.group = unit%len(d.dstTap), unit/len(d.dstTap)
	u.rows = min(d.rows, l.kg-u.row)
	u.panels = min(d.width, d.panels-u.panel)
	u.ldc = u.panels * lanes
	u.first = u.panel * lanes
	u.columns = min(u.ldc, d.columns-u.first)
	return u
}

type gradientTask matmul

// do runs the programs of all nodes for one piece of the weights, or of the biases.
func (t *gradientTask) do(thread, unit int) {
	l := (*matmul)(t)
	if n := l.dw.units(l); unit >= n {
		l.biasGradient(thread, unit-n)
		return
	}
	d, sums := &l.dw, &l.p.sums
	u := d.piece(l, unit)
	size := u.rows * u.ldc
	stack := l.p.scratch[thread]
	free := stack[stackDepth(l.p.options.Images)*d.rows*d.width*lanes:]
	for node := range sums.ends {
		top := 0
		for _, step := range sums.program(node) {
			if step == addTop {
				top--
				sum := stack[(top-1)*size : top*size]
				kernel.Add(sum, sum, stack[top*size:(top+1)*size])
				continue
			}
			c := stack[top*size : (top+1)*size]
			if d.im2col {
				d.shardIm2col(l, c, &u, sums.spans[step], free, thread)
			} else {
				d.shard(l, c, &u, sums.spans[step], thread)
			}
			top++
		}
		if top == 0 {
			clear(stack[:size])
		}
		d.store(l, l.weight.Of(l.p.totals[node]), stack, &u)
	}
}

// shard writes to c (u.rows, u.ldc) the gradient of one shard.
func (d *weightGradient) shard(l *matmul, c []float32, u *piece, images span, thread int) {
	tp := l.taps[u.tap]
	y0, y1 := outputs(tp.r, l.stride, l.padTop, l.in.H, l.out.H)
	x0, x1 := outputs(tp.s, l.stride, l.padLeft, l.in.W, l.out.W)
	a := d.dy[(u.group*l.kg+u.row)*lanes:]
	b := d.x[(u.group*d.panels+u.panel)*lanes*lanes:]
	perPixel := l.groups * d.panels * lanes * lanes
	blocks := l.p.chain[thread][:0]
	begun := false
	for oy := y0; oy < y1; oy++ {
		for ox := x0; ox < x1; ox++ {
			out := (oy*l.out.W + ox) * l.out.C * lanes
			in := ((oy*l.stride+tp.r-l.padTop)*l.in.W + ox*l.stride + tp.s - l.padLeft) * perPixel
			for i := images.first; i < images.end; {
				block, lane := i/lanes, i%lanes
				n := min(lanes-lane, images.end-i)
				i += n
				if len(blocks) == chainBlocks {
					d.tiles(c, u, a, b, blocks, begun)
					blocks, begun = blocks[:0], true
				}
				blocks = append(blocks, kernel.Block{
					A: block*l.outSize + out + lane,
					B: block*l.inPixels*perPixel + in + lane*lanes,
					K: n,
				})
			}
		}
	}
	d.tiles(c, u, a, b, blocks, begun)
}

// tiles continues, or begins, the chains of a piece with some blocks.
func (d *weightGradient) tiles(c []float32, u *piece, a, b []float32, blocks []kernel.Block, begun bool) {
	shape := kernel.Tile{RowC: u.ldc, ColumnC: lanes, RowA: lanes, StepA: 1, StepB: lanes, ColumnB: lanes * lanes}
	for k := 0; k < u.rows; k += tileRows {
		shape.Rows = min(tileRows, u.rows-k)
		for j := 0; j < u.panels; j += kernel.TileColumns {
			shape.Columns = min(kernel.TileColumns, u.panels-j)
			dst, bj := c[k*u.ldc+j*lanes:], b[j*lanes*lanes:]
			if begun {
				kernel.Chain(dst, a[k*lanes:], bj, &shape, blocks)
			} else {
				kernel.ChainZero(dst, a[k*lanes:], bj, &shape, blocks)
			}
		}
	}
}

// store copies a piece to its place in the weights' gradient.
func (d *weightGradient) store(l *matmul, sum, c []float32, u *piece) {
	for k := range u.rows {
		src := c[k*u.ldc : k*u.ldc+u.columns]
		dst := sum[(u.group*l.kg+u.row+k)*d.dstRow+d.dstTap[u.tap]:]
		switch {
		case d.dst != nil:
			for j, v := range src {
				dst[d.dst[u.first+j]] = v
			}
		case d.dstColumn == 1:
			copy(dst[u.first:], src)
		default:
			at := u.first * d.dstColumn
			for _, v := range src {
				dst[at] = v
				at += d.dstColumn
			}
		}
	}
}
