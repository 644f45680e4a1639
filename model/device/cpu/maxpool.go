package cpu

import (
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
)

// window is the geometry of pooling.
type window struct {
	in, out         device.Shape
	kernel, stride  int
	padTop, padLeft int
}

func newWindow(op *device.Pool) window {
	return window{op.In, op.Out, op.Kernel, op.Stride, op.PadTop, op.PadLeft}
}

// clip returns the rows [y0, y1) and columns [x0, x1) of the window of an output.
func (w *window) clip(oy, ox int) (y0, y1, x0, x1 int) {
	y, x := oy*w.stride-w.padTop, ox*w.stride-w.padLeft
	return max(y, 0), min(y+w.kernel, w.in.H), max(x, 0), min(x+w.kernel, w.in.W)
}

// input returns the window of output (oy, ox), not empty, over pixels of the
// input of n values.
func (w *window) input(oy, ox, n int) kernel.Window {
	y0, y1, x0, x1 := w.clip(oy, ox)
	return kernel.Window{
		Rows: y1 - y0, Columns: x1 - x0, Row: w.in.W * n, Column: n,
		Pixel: y0*w.in.W + x0, PixelRow: w.in.W,
	}
}

// output returns the window of the outputs, of n values, in whose windows input
// (iy, ix) is. It may be empty.
func (w *window) output(iy, ix, n int) kernel.Window {
	y0, y1 := w.covering(iy+w.padTop, w.out.H)
	x0, x1 := w.covering(ix+w.padLeft, w.out.W)
	return kernel.Window{
		Rows: y1 - y0, Columns: x1 - x0, Row: w.out.W * n, Column: n,
		Pixel: y0*w.out.W + x0, PixelRow: w.out.W,
	}
}

// covering returns the outputs [first, end) of one axis, out in number, in whose
// windows place i of the padded input is.
func (w *window) covering(i, out int) (first, end int) {
	// o*stride <= i < o*stride + kernel
	first = max(0, ceilDiv(i-w.kernel+1, w.stride))
	end = min(out, i/w.stride+1)
	return first, max(first, end)
}

// maxPool takes the largest value of each window.
type maxPool struct {
	ends
	window
	from   []int32 // pixel of the input that each output of the batch comes from; nil: never trained
	train  bool
	dx, dy []float32
}

func newMaxPool(p *plan, op *device.Pool) *maxPool {
	l := &maxPool{ends: newEnds(p, op.In, op.Out), window: newWindow(op)}
	if p.trains() {
		l.from = make([]int32, p.mostBlocks*l.outSize)
	}
	return l
}

func (l *maxPool) forward(train bool) {
	l.train = train
	l.p.pool.run(l.p.blocks*l.out.H, (*maxPoolForward)(l))
}

type maxPoolForward maxPool

// do computes one row of outputs of a lane block.
func (t *maxPoolForward) do(_, unit int) {
	l := (*maxPool)(t)
	block, oy := unit/l.out.H, unit%l.out.H
	n := l.in.C * lanes
	x := l.x[block*l.inSize : (block+1)*l.inSize]
	for ox := range l.out.W {
		at := block*l.outSize + (oy*l.out.W+ox)*n
		var from []int32
		if l.train {
			from = l.from[at : at+n]
		}
		w := l.input(oy, ox, n)
		kernel.MaxPool(l.y[at:at+n], from, x[w.Pixel*n:], &w)
	}
}

func (l *maxPool) backward(dx, dy []float32) {
	l.dx, l.dy = dx, dy
	l.p.pool.run(l.p.blocks*l.in.H, (*maxPoolBack)(l))
}

type maxPoolBack maxPool

// do computes the gradients of one row of inputs of a lane block, each of them
// from the outputs that may come from it.
func (t *maxPoolBack) do(_, unit int) {
	l := (*maxPool)(t)
	block, iy := unit/l.in.H, unit%l.in.H
	n := l.in.C * lanes
	dy := l.dy[block*l.outSize : (block+1)*l.outSize]
	from := l.from[block*l.outSize : (block+1)*l.outSize]
	for ix := range l.in.W {
		pixel := iy*l.in.W + ix
		dx := l.dx[block*l.inSize+pixel*n:][:n]
		w := l.output(iy, ix, n)
		if w.Rows == 0 || w.Columns == 0 {
			clear(dx)
			continue
		}
		kernel.MaxPoolBack(dx, dy[w.Pixel*n:], from[w.Pixel*n:], pixel, &w)
	}
}
