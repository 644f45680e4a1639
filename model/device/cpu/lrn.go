package cpu

import (
	"math"

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
	channels, pixels int
	before, after    int // channels of a window on either side of its centre
	k, alpha, beta   float32
	denominator      []float32 // d; empty: never trained
	factor           []float32 // d^-Beta
	train            bool
	dx, dy           []float32
}

func newLRN(p *plan, op *device.LRN) *lrn {
	l := &lrn{
		ends: newEnds(p, op.In, op.Out), channels: op.In.C, pixels: op.In.H * op.In.W,
		before: (op.Size - 1) / 2, after: op.Size / 2, k: op.K, alpha: op.Alpha, beta: op.Beta,
	}
	if p.trains() {
		p.arena.reserve(&l.denominator, p.mostBlocks*l.inSize)
		p.arena.reserve(&l.factor, p.mostBlocks*l.inSize)
		p.needScratch(op.In.C * lanes)
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
	n := l.channels * lanes
	x, y := l.x[unit*n:(unit+1)*n], l.y[unit*n:(unit+1)*n]
	for c := range l.channels {
		var sum [lanes]float32
		for j := max(0, c-l.before); j <= min(l.channels-1, c+l.after); j++ {
			for lane, v := range x[j*lanes:][:lanes] {
				sum[lane] += float32(v * v)
			}
		}
		for lane, s := range sum {
			at := c*lanes + lane
			d := l.k + float32(l.alpha*s)
			f := l.power(d)
			y[at] = x[at] * f
			if l.train {
				l.denominator[unit*n+at], l.factor[unit*n+at] = d, f
			}
		}
	}
}

// power returns d^-beta. The usual 3/4 takes two square roots, which are exact
// but for their rounding on every machine.
func (l *lrn) power(d float32) float32 {
	if l.beta == 0.75 {
		root := math.Sqrt(float64(d))
		return float32(1 / (root * math.Sqrt(root)))
	}
	return kernel.Pow(d, -l.beta)
}

func (l *lrn) backward(dx, dy []float32) {
	l.dx, l.dy = dx, dy
	l.p.pool.run(l.p.blocks*l.pixels, (*lrnBack)(l))
}

type lrnBack lrn

func (t *lrnBack) do(thread, unit int) {
	l := (*lrn)(t)
	n := l.channels * lanes
	first, end := unit*n, (unit+1)*n
	x, dx, dy := l.x[first:end], l.dx[first:end], l.dy[first:end]
	d, f := l.denominator[first:end], l.factor[first:end]
	ratio := l.p.scratch[thread][:n]
	for i, v := range x {
		ratio[i] = dy[i] * (v * f[i]) / d[i]
	}
	twice := 2 * l.alpha * l.beta
	for c := range l.channels {
		var sum [lanes]float32
		for j := max(0, c-l.after); j <= min(l.channels-1, c+l.before); j++ {
			for lane, v := range ratio[j*lanes:][:lanes] {
				sum[lane] += v
			}
		}
		for lane, s := range sum {
			at := c*lanes + lane
			dx[at] = float32(dy[at]*f[at]) - float32(twice*x[at]*s)
		}
	}
}
