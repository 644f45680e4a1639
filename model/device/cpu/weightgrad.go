package cpu

import (
	"unsafe"

	"github.com/muster-train/muster/internal/kernel"
)

// weightGradient is the gradient of a layer's weights: for each shard one chain
// over output pixels and images, with dy's channels as rows and, as columns, 16
// at a time, the input channels at taps.
//
// Where a group has at least 16 channels, the columns of a panel are channels at
// one tap, and the inputs stand transposed in
//
//	[lane block][pixel][group][panel][lane][column of the panel]
//
// Otherwise a panel is 16 values of one row of the kernel, taps outermost, and
// the inputs are those of stripes: what a row of the kernel meets lies side by
// side in an image's row.
type weightGradient struct {
	striped bool
	stripes stripes
	columns int   // of a group at a tap; of panels, where they are striped
	panels  int   // of a group
	panelAt []int // place of each panel of a group, from that of a pixel

	rows, width          int // output channels and panels of a unit of work, at most
	rowUnits, panelUnits int

	source    []int     // place of each column among a pixel's activations of the group; nil: striped
	outputs   []int     // place of each output channel among a pixel's, where factors may be handed out
	x         []float32 // the inputs, transposed; where they are not striped, as chains read them
	paired    []float32 // the pairs of stripes
	dstRow    int       // values of an output channel in the vector
	dst       []int     // place there of each column; -1: of none
	dstTap    []int     // place there of each tap's first column
	adjoining bool      // columns follow each other in the vector

	step int // values of the images of a lane block: pairs with bfloat16

	// of the calls at hand
	dy   []float32 // as it is
	a    []float32 // as chains read it
	runs bool      // a shard's chains read runs of both factors
}

const (
	gradientTiles  = 16 // tiles of output channels of a unit
	gradientPanels = 4  // panels of a unit
	chainBlocks    = 16 // blocks of one call of the kernel, where there are many
	treeBlocks     = 96 // blocks of a whole tree of chains that one call computes
)

func (d *weightGradient) prepareConv(l *matmul) {
	d.step = l.p.imageStep()
	taps := l.spread.kernel
	d.dstRow = l.cg * taps
	d.striped = l.cg < lanes && len(l.taps) > 1
	if d.striped {
		d.dstTap = []int{0}
		d.stripes = newStripes(&l.geometry)
		for r := range l.rows {
			for first := 0; first < l.geometry.columns*l.cg; first += lanes {
				d.panelAt = append(d.panelAt, r*d.step*d.stripes.lane+first)
				for j := first; j < first+lanes; j++ {
					s, c := j/l.cg, j%l.cg
					at := -1
					if s < l.geometry.columns && l.place[r*l.geometry.columns+s] >= 0 {
						at = c*taps + r*l.geometry.columns + s
					}
					d.dst = append(d.dst, at)
				}
			}
		}
		d.columns = len(d.dst)
	} else {
		d.columns = l.cg
		for c := range l.cg {
			d.source = append(d.source, c*lanes)
			d.dst = append(d.dst, c*taps)
		}
		for _, t := range l.taps {
			d.dstTap = append(d.dstTap, t.r*l.geometry.columns+t.s)
		}
		d.adjoining = taps == 1
	}
	d.prepare(l)
}

// prepareDense takes the columns in the vector's order (channel, pixel), while
// the activations have the pixel outermost.
func (d *weightGradient) prepareDense(l *matmul) {
	d.step = l.p.imageStep()
	channels, pixels := l.spread.channels, l.spread.kernel
	d.columns, d.dstRow, d.dstTap, d.adjoining = channels*pixels, channels*pixels, []int{0}, true
	for c := range channels {
		for i := range pixels {
			d.source = append(d.source, (i*channels+c)*lanes)
			d.dst = append(d.dst, c*pixels+i)
		}
	}
	for k := range l.out.C {
		d.outputs = append(d.outputs, k*lanes)
	}
	l.p.needScratch(factorColumns * lanes)
	d.prepare(l)
}

func (d *weightGradient) prepare(l *matmul) {
	p := l.p
	d.panels = (d.columns + lanes - 1) / lanes
	if p.bf16() {
		p.needPairs(l.outSize)
	}
	if d.striped {
		p.arena.reserve(&d.x, p.mostBlocks*l.groups*d.stripes.size+lanes)
		if p.bf16() {
			p.arena.reserve(&d.paired, p.mostBlocks*l.groups*d.stripes.size/2+lanes)
		}
	} else {
		for i := range d.panels {
			d.panelAt = append(d.panelAt, i*d.step*lanes)
		}
		p.arena.reserve(&d.x, p.mostBlocks*l.inPixels*l.groups*d.panels*d.step*lanes)
		if p.bf16() || l.pixels > 1 {
			p.needScratch(d.panels * lanes * lanes)
		}
		if l.pixels > 1 && !p.bf16() {
			p.runSize = max(p.runSize, l.outSize*p.mostBlocks)
		}
	}
	d.rows, d.width = gradientTiles*tileRows, gradientPanels
	d.cut(l)
	p.needScratch(stackDepth(p.options.Images) * max(d.rows*d.width*lanes, tileValues))
}

// tileValues is the number of values of the largest tile.
const tileValues = kernel.TileRows * kernel.TileColumns * lanes

// cut makes the units of work smaller until each thread has a few, or until one
// is a tile of 4 rows: smaller ones load more than they compute.
func (d *weightGradient) cut(l *matmul) {
	d.rows = evenly(l.kg, d.rows)
	d.width = evenly(d.panels, d.width)
	for {
		d.rowUnits = (l.kg + d.rows - 1) / d.rows
		d.panelUnits = (d.panels + d.width - 1) / d.width
		switch {
		case d.units(l) >= unitsPerThread*l.p.pool.threads:
			return
		case d.width > kernel.TileColumns:
			d.width = (d.width/2 + 1) &^ 1
		case d.rows > 4:
			d.rows = (d.rows + 1) / 2
		default:
			return
		}
	}
}

// unitsPerThread is how many units of work each thread should get: the more,
// the less the last one keeps the others waiting.
const unitsPerThread = 4

// units returns the units of work: groups x rows x panels x taps, the last innermost.
func (d *weightGradient) units(l *matmul) int {
	return l.groups * len(d.dstTap) * d.rowUnits * d.panelUnits
}

// gradient writes the sums of the weights' and the biases' gradients of all
// nodes. Weights of taps that touch no image keep the zero they began with.
func (l *matmul) gradient(dy []float32) {
	l.dw.dy, l.dw.a = dy, dy
	if l.p.bf16() {
		l.p.pool.run(l.p.blocks*l.pixels, (*imagePairs)(l))
		l.dw.a = l.p.pairs
	}
	if l.dw.runs = l.dw.inRuns(l); l.dw.runs {
		l.p.pool.run(l.p.blocks*l.out.C, (*outputRuns)(l))
	}
	switch {
	case l.handed.all(l):
	case l.dw.striped:
		l.p.pool.run(l.p.blocks*l.in.H, (*stripeTask)(l))
	default:
		l.p.pool.run(l.p.blocks*l.inPixels, (*transposeTask)(l))
	}
	l.p.pool.run(l.dw.units(l)+l.biasUnits(), (*gradientTask)(l))
}

// piece is a unit of work: rows and panels at a tap, of a group.
type piece struct {
	group, tap    int
	row, rows     int // first output channel in the group, and number
	panel, panels int
}

func (d *weightGradient) piece(l *matmul, unit int) piece {
	var u piece
	u.tap = unit % len(d.dstTap)
	unit /= len(d.dstTap)
	u.panel = unit % d.panelUnits * d.width
	unit /= d.panelUnits
	u.row = unit % d.rowUnits * d.rows
	u.group = unit / d.rowUnits
	u.rows = min(d.rows, l.kg-u.row)
	u.panels = min(d.width, d.panels-u.panel)
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
	for _, u := range l.handed.without(l.dw.piece(l, unit)) {
		if u.rows <= 0 {
			continue
		}
		for node := range l.p.sums.ends {
			program := l.p.sums.program(node)
			if !l.dw.tree(l, &u, node, program, thread) {
				l.dw.bySpans(l, &u, node, program, thread)
			}
		}
	}
}

// tree writes the sums of a piece for one node, with one call of the kernel for
// each tile. It reports false, and has done nothing, where the factors are runs,
// or the chains so long that their factors would not stay in the second cache.
func (d *weightGradient) tree(l *matmul, u *piece, node int, program []int, thread int) bool {
	w := d.window(l, u)
	if d.runs || w.pixels()*(len(program)+l.p.blocks) > treeBlocks || len(program) == 0 {
		return false
	}
	blocks := l.p.chain[thread][:0]
	for _, step := range program {
		if step == addTop {
			blocks[len(blocks)-1].Then++
			continue
		}
		for at := (cursor{image: l.p.sums.spans[step].first}); at.image < l.p.sums.spans[step].end; {
			blocks = d.block(blocks, l, u, &w, &at, l.p.sums.spans[step])
		}
		blocks[len(blocks)-1].Then = 1
	}
	stack := l.p.scratch[thread]
	c := stack[len(stack)-tileValues:]
	sums := l.weight.Of(l.p.totals[node])
	shape := d.shape(l)
	for row := 0; row < u.rows; row += shape.Rows {
		shape.Rows = evenly(u.rows-row, tileRows)
		for panel := 0; panel < u.panels; panel += shape.Columns {
			a, b := d.operands(l, u, row, panel, &shape)
			if to := d.place(l, u, row, panel, &shape); to >= 0 {
				shape.RowC, shape.ColumnC = d.dstRow, lanes
				shape.Far = d.far(l, sums[to:])
				kernel.ChainTree(sums[to:], a, b, &shape, blocks, stack)
				continue
			}
			shape.RowC, shape.ColumnC, shape.Far = shape.Columns*lanes, lanes, false
			kernel.ChainTree(c, a, b, &shape, blocks, stack)
			d.store(l, sums, c, u, row, shape.Rows, panel, shape.Columns)
		}
	}
	return true
}

// place returns where in the vector the tile that begins at row and panel of a
// piece can be written as it is, or -1: where its columns do not follow each
// other there.
func (d *weightGradient) place(l *matmul, u *piece, row, panel int, shape *kernel.Tile) int {
	first := (u.panel + panel) * lanes
	if !d.adjoining || first+shape.Columns*lanes > d.columns {
		return -1
	}
	return (u.group*l.kg+u.row+row)*d.dstRow + d.dstTap[u.tap] + first
}

// far tells whether a tile's sums are written past the caches: those of a layer
// whose gradient would not stay there, where vectors of them are lines.
func (d *weightGradient) far(l *matmul, sums []float32) bool {
	const line = 64 // bytes
	return l.weight.Len() >= farValues && d.dstRow%lanes == 0 && uintptr(unsafe.Pointer(&sums[0]))%line == 0
}

// shape returns the strides of the operands, and what becomes of them.
func (d *weightGradient) shape(l *matmul) kernel.Tile {
	t := kernel.Tile{RowA: d.step, StepA: 1, StepB: lanes, Pairs: l.p.bf16(), Round: l.p.rounds()}
	if d.striped {
		t.StepB = d.stripes.lane
	}
	return t
}

// operands returns the factors of the tile that begins at row and panel of a
// piece, and sets how many columns it has.
func (d *weightGradient) operands(l *matmul, u *piece, row, panel int, shape *kernel.Tile) (a, b []float32) {
	at := d.panelAt[u.panel+panel]
	shape.Columns = min(kernel.TileColumns, u.panels-panel)
	if shape.Columns > 1 {
		shape.ColumnB = d.panelAt[u.panel+panel+1] - at
	}
	return d.a[(u.group*l.kg+u.row+row)*d.step:], d.factors()[at:]
}

// bySpans writes the sums of a piece for one node, the chains of one shard after
// the other, each in stretches whose factors stay in the second cache.
func (d *weightGradient) bySpans(l *matmul, u *piece, node int, program []int, thread int) {
	size := u.rows * u.panels * lanes
	stack := l.p.scratch[thread]
	top := 0
	for _, step := range program {
		if step == addTop {
			top--
			l.p.addNode(stack[(top-1)*size:top*size], stack[top*size:(top+1)*size])
			continue
		}
		leaf := stack[top*size : (top+1)*size]
		d.shard(l, leaf, u, l.p.sums.spans[step], thread)
		l.p.endLeaf(leaf)
		top++
	}
	if top == 0 {
		clear(stack[:size])
	}
	d.store(l, l.weight.Of(l.p.totals[node]), stack, u, 0, u.rows, 0, u.panels)
}

// shard writes to c (u.rows, u.panels*lanes) the gradient of one shard.
func (d *weightGradient) shard(l *matmul, c []float32, u *piece, images span, thread int) {
	w := d.window(l, u)
	if w.pixels() == 0 {
		clear(c)
		return
	}
	begun := false
	for at := (cursor{image: images.first}); at.image < images.end; begun = true {
		blocks := l.p.chain[thread][:0]
		for steps := 0; len(blocks) < chainBlocks && steps < runSteps && at.image < images.end; {
			if d.runs {
				blocks = d.runBlock(blocks, l, u, &w, &at, images)
				steps += blocks[len(blocks)-1].K
			} else {
				blocks = d.block(blocks, l, u, &w, &at, images)
			}
		}
		d.tiles(l, c, u, blocks, images, begun)
	}
}

// tiles continues, or begins, the chains of a piece with some blocks.
func (d *weightGradient) tiles(l *matmul, c []float32, u *piece, blocks []kernel.Block, images span, begun bool) {
	shape := d.shape(l)
	shape.RowC, shape.ColumnC = u.panels*lanes, lanes
	for row := 0; row < u.rows; row += shape.Rows {
		shape.Rows = evenly(u.rows-row, tileRows)
		for panel := 0; panel < u.panels; panel += shape.Columns {
			var a, b []float32
			if d.runs {
				a, b = d.runOperands(l, u, images, row, panel, &shape)
			} else {
				a, b = d.operands(l, u, row, panel, &shape)
			}
			dst := c[row*shape.RowC+panel*lanes:]
			if begun {
				kernel.Chain(dst, a, b, &shape, blocks)
			} else {
				kernel.ChainZero(dst, a, b, &shape, blocks)
			}
		}
	}
}

// store copies the rows and panels of a piece, from row and panel on, to their
// place in the weights' gradient.
func (d *weightGradient) store(l *matmul, sum, c []float32, u *piece, row, rows, panel, panels int) {
	first := (u.panel + panel) * lanes
	end := min(first+panels*lanes, d.columns)
	for i := range rows {
		src := c[i*panels*lanes:][:end-first]
		dst := sum[(u.group*l.kg+u.row+row+i)*d.dstRow+d.dstTap[u.tap]:]
		if d.adjoining {
			copy(dst[first:], src)
			continue
		}
		for j, at := range d.dst[first:end] {
			if at >= 0 {
				dst[at] = src[j]
			}
		}
	}
}
