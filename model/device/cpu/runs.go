package cpu

import "github.com/muster-train/muster/internal/kernel"

// Where shards have few images, a line of a lane block holds those of several
// shards: the chains of one use a part of each line they take in, and have only
// a few steps from one pixel to the next. So each shard's images are put
// together, as runs:
//
//	of the gradients of the outputs  [shard][channel][pixel][image]
//	of the inputs, transposed        [shard][group][panel][pixel][image][column of the panel]
//
// in which a row of pixels is one stretch of a chain. With four images a shard
// that takes a third off alexnet-2012's gradients of weights; with sixteen, which
// fill a line, putting them together costs more than it gains.

const (
	shortRun = lanes / 2 // most images of a shard for which that pays
	runSteps = 256       // steps of one call of the kernel, about
)

// short tells whether the images of each shard are few and lie in one lane block.
func (t *sums) short() bool {
	for _, s := range t.spans {
		if s.end-s.first > shortRun || s.first/lanes != (s.end-1)/lanes {
			return false
		}
	}
	return true
}

// longest returns the most steps of a node's program.
func (t *sums) longest() int {
	n := 0
	for i := range t.ends {
		n = max(n, len(t.program(i)))
	}
	return n
}

// inRuns tells whether the layer's chains read runs: not where the factors are
// pairs or the inputs stripes, nor where whole trees of chains are one call at
// every tap.
func (d *weightGradient) inRuns(l *matmul) bool {
	return !l.p.bf16() && !d.striped && l.pixels > 1 && l.pixels*(l.p.sums.longest()+l.p.blocks) > treeBlocks && l.p.sums.short()
}

// outputRuns puts the gradients of one channel of a lane block together.
type outputRuns matmul

func (t *outputRuns) do(_, unit int) {
	l := (*matmul)(t)
	block, channel := unit/l.out.C, unit%l.out.C
	src := l.dw.dy[(block*l.pixels*l.out.C+channel)*lanes:]
	for _, s := range l.p.sums.spans {
		if s.first/lanes != block {
			continue
		}
		n := s.end - s.first
		dst := l.p.runs[(s.first*l.out.C+channel*n)*l.pixels:][:l.pixels*n]
		for at := s.first % lanes; len(dst) > 0; at += l.out.C * lanes {
			copy(dst, src[at:at+n])
			dst = dst[n:]
		}
	}
}

// inputRuns puts the inputs of one pixel of a group and a lane block together,
// as columns has them: [panel][lane][column].
func (l *matmul) inputRuns(columns []float32, block, pixel, group int) {
	d := &l.dw
	for _, s := range l.p.sums.spans {
		if s.first/lanes != block {
			continue
		}
		n := (s.end - s.first) * lanes
		for p := range d.panels {
			from := (p*lanes + s.first%lanes) * lanes
			copy(d.x[d.run(l, s, group, p)+pixel*n:][:n], columns[from:])
		}
	}
}

// run returns the place of a panel's run of inputs.
func (d *weightGradient) run(l *matmul, s span, group, panel int) int {
	return (s.first*l.groups*d.panels + (group*d.panels+panel)*(s.end-s.first)) * l.inPixels * lanes
}

// runOperands is operands where the factors are runs.
func (d *weightGradient) runOperands(l *matmul, u *piece, s span, row, panel int, shape *kernel.Tile) (a, b []float32) {
	n := s.end - s.first
	shape.Columns = min(kernel.TileColumns, u.panels-panel)
	shape.RowA, shape.ColumnB = l.pixels*n, l.inPixels*n*lanes
	return l.p.runs[(s.first*l.out.C+(u.group*l.kg+u.row+row)*n)*l.pixels:], d.x[d.run(l, s, u.group, u.panel+panel):]
}

// runBlock appends the next stretch of a shard's chains, of a row of pixels
// where their inputs follow each other, and moves the cursor on.
func (d *weightGradient) runBlock(blocks []kernel.Block, l *matmul, u *piece, w *view, at *cursor, s span) []kernel.Block {
	n, width := s.end-s.first, w.x1-w.x0
	oy, ox := w.y0+at.pixel/width, w.x0+at.pixel%width
	pixels := 1
	if l.stride == 1 {
		pixels = width
	}
	if at.pixel += pixels; at.pixel == w.pixels() {
		at.image = s.end
	}
	tp := l.taps[u.tap]
	from := (oy*l.stride+tp.r-l.padTop)*l.in.W + ox*l.stride + tp.s - l.padLeft
	return append(blocks, kernel.Block{A: (oy*l.out.W + ox) * n, B: from * n * lanes, K: pixels * n})
}
