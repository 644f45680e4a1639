package cpu

import (
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
)

// activation applies a function to every value. ReLU and leaky ReLU write over
// their input: the sign of the output tells all that backward needs.
type activation struct {
	ends
	kind   device.ActivationKind
	slope  float32
	inside bool // writes over its input
	dx, dy []float32
}

func newActivation(p *plan, op *device.Activation) *activation {
	return &activation{
		ends: newEnds(p, op.In, op.Out), kind: op.Kind, slope: op.Slope,
		inside: op.Kind == device.ReLU || op.Kind == device.LeakyReLU && op.Slope >= 0,
	}
}

func (l *activation) overwrites() bool { return l.inside }

func (l *activation) forward(bool) { l.p.pool.run(l.chunks(l.inSize), (*activate)(l)) }

type activate activation

func (t *activate) do(_, unit int) {
	l := (*activation)(t)
	first, end := l.chunk(unit, l.inSize)
	x, y := l.x[first:end], l.y[first:end]
	switch l.kind {
	case device.ReLU:
		kernel.ReLU(y, x)
	case device.LeakyReLU:
		kernel.LeakyReLU(y, x, l.slope)
	case device.Softplus:
		for i, v := range x {
			y[i] = kernel.Softplus(v)
		}
	}
}

func (l *activation) backward(dx, dy []float32) {
	l.dx, l.dy = dx, dy
	l.p.pool.run(l.chunks(l.inSize), (*activateBack)(l))
}

type activateBack activation

func (t *activateBack) do(_, unit int) {
	l := (*activation)(t)
	first, end := l.chunk(unit, l.inSize)
	x, dx, dy := l.x[first:end], l.dx[first:end], l.dy[first:end]
	switch l.kind {
	case device.ReLU:
		kernel.ReLUBack(dx, dy, x)
	case device.LeakyReLU:
		kernel.LeakyReLUBack(dx, dy, x, l.slope)
	case device.Softplus:
		for i, v := range x {
			dx[i] = dy[i] * kernel.Sigmoid(v)
		}
	}
}
