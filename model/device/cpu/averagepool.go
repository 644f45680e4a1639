package cpu

import (
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
)

// averagePool takes the mean of each window's values inside the image.
type averagePool struct {
	ends
	window
	counts []float32 // values in the window of each output
	dx, dy []float32
}

func newAveragePool(p *plan, op *device.Pool) *averagePool {
	l := &averagePool{ends: newEnds(p, op.In, op.Out), window: newWindow(op)}
	for oy := range l.out.H {
		for ox := range l.out.W {
			y0, y1, x0, x1 := l.clip(oy, ox)
			l.counts = append(l.counts, float32((y1-y0)*(x1-x0)))
		}
	}
	return l
}

func (l *averagePool) forward(bool) { l.p.pool.run(l.p.blocks*l.out.H, (*averageForward)(l)) }

type averageForward averagePool

// do computes one row of outputs of a lane block.
func (t *averageForward) do(_, unit int) {
	l := (*averagePool)(t)
	block, oy := unit/l.out.H, unit%l.out.H
	n := l.in.C * lanes
	x := l.x[block*l.inSize : (block+1)*l.inSize]
	for ox := range l.out.W {
		pixel := oy*l.out.W + ox
		w := l.input(oy, ox, n)
		kernel.AveragePool(l.y[block*l.outSize+pixel*n:][:n], x[w.Pixel*n:], l.counts[pixel], &w)
	}
}

func (l *averagePool) backward(dx, dy []float32) {
	l.dx, l.dy = dx, dy
	l.p.pool.run(l.p.blocks*l.in.H, (*averageBack)(l))
}

type averageBack averagePool

// do computes the gradients of one row of inputs of a lane block, each of them
// from the outputs that it is part of.
func (t *averageBack) do(_, unit int) {
	l := (*averagePool)(t)
	block, iy := unit/l.in.H, unit%l.in.H
	n := l.in.C * lanes
	dy := l.dy[block*l.outSize : (block+1)*l.outSize]
	for ix := range l.in.W {
		dx := l.dx[block*l.inSize+(iy*l.in.W+ix)*n:][:n]
		w := l.output(iy, ix, n)
		if w.Rows == 0 || w.Columns == 0 {
			clear(dx)
			continue
		}
		kernel.AveragePoolBack(dx, dy[w.Pixel*n:], l.counts, &w)
	}
}
