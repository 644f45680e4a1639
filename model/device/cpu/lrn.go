package cpu

import (
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
)

// lrn is local response normalisation. With d_c = K + Alpha * (the sum over
// the window of c, in ascending order, of x_j^2),
//
//	y_c  = x_c * d_c^-Beta
//	dx_c = dy_c * d_c^-Beta - 2 Alpha Beta x_c * (the sum over all j in whose window c is, ascending, of dy_j y_j / d_j)
type lrn struct {
	ends
	kernel.Response
	values, pixels int       // values of a pixel of a lane block, pixels
	denominator    []float32 // d; empty: never trained
	factor         []float32 // d^-Beta
	train          bool
	dx, dy         []float32
}

func newLRN(p *plan, op *device.LRN) *lrn {
	l := &lrn{
		ends: newEnds(p, op.In, op.Out), values: op.In.C * lanes, pixels: op.In.H * op.In.W,
		Response: kernel.Response{
			Before: (op.Size - 1) / 2, After: op.Size / 2, K: op.K, Alpha: op.Alpha, Beta: op.Beta,
		},
	}
	if p.trains() {
		p.arena.reserve(&l.denominator, p.mostBlocks*l.inSize)
		p.arena.reserve(&l.factor, p.mostBlocks*l.inSize)
		p.needScratch(l.values)
	}
	return l
}

func (l *lrn) forward(train bool) {
	l.train = train
	l.p.pool.run(l.p.blocks*l.pixels, (*lrnForward)(l))
}

type lrnForward lrn

// do normalises one pixel of a lane block.
func (t *lrnForward) do(_, unit int) {
	l := (*lrn)(t)
	first, end := unit*l.values, (unit+1)*l.values
	var d, f []float32
	if l.train {
		d, f = l.denominator[first:end], l.factor[first:end]
	}
	kernel.LRN(l.y[first:end], d, f, l.x[first:end], &l.Response)
}

func (l *lrn) backward(dx, dy []float32) {
	l.dx, l.dy = dx, dy
	l.p.pool.run(l.p.blocks*l.pixels, (*lrnBack)(l))
}

type lrnBack lrn

func (t *lrnBack) do(thread, unit int) {
	l := (*lrn)(t)
	first, end := unit*l.values, (unit+1)*l.values
	kernel.LRNBack(l.dx[first:end], l.dy[first:end], l.x[first:end],
		l.denominator[first:end], l.factor[first:end], l.p.scratch[thread][:l.values], &l.Response)
}
