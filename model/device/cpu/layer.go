package cpu

import (
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// layer runs one operation of a plan over the lane blocks of the batch at hand.
type layer interface {
	// overwrites tells whether y is x, and dx is dy.
	overwrites() bool
	// bind says where the layer's activations lie, once they exist.
	bind(x, y []float32)
	// forward computes y from x; train says whether gradients will be asked for.
	forward(train bool)
	// backward computes the gradients of in from those of out.
	backward(dx, dy []float32)
}

// weighted is a layer with parameters.
type weighted interface {
	layer
	// loaded tells that the vector's values of r have changed.
	loaded(r params.Range)
	// pack brings what is made of the parameters up to date.
	pack()
	// handOut hands out the factors of the gradient of the layer's weights, where
	// they are asked for.
	handOut(dy []float32)
	// gradient writes the gradients of the layer's parameters to all nodes' sums, but
	// those of which factors are handed out.
	gradient(dy []float32)
	// ranges returns the layer's parameters.
	ranges() (weight, bias params.Range)
	// summed returns those that gradient writes all values of.
	summed() [3]params.Range
}

// ends is what every layer has.
type ends struct {
	p       *plan
	inSize  int // values of a lane block
	outSize int
	x, y    []float32 // activations: input, output
}

func newEnds(p *plan, in, out device.Shape) ends {
	return ends{p: p, inSize: in.Values() * lanes, outSize: out.Values() * lanes}
}

func (e *ends) bind(x, y []float32) { e.x, e.y = x, y }
func (e *ends) overwrites() bool    { return false }

// chunkValues is the size of the pieces that elementwise work is cut into.
const chunkValues = 8192

// chunks returns the number of pieces of all values of a lane block size.
func (e *ends) chunks(size int) int {
	return (e.p.blocks*size + chunkValues - 1) / chunkValues
}

// chunk returns the range of piece i.
func (e *ends) chunk(i, size int) (first, end int) {
	return i * chunkValues, min((i+1)*chunkValues, e.p.blocks*size)
}

// newLayer returns the executor of op, with its memory reserved in p.arena.
// first says that nobody needs the gradient of op's input.
func newLayer(p *plan, op device.Op, first bool) layer {
	switch op := op.(type) {
	case *device.Conv:
		return newConv(p, op, first)
	case *device.Dense:
		return newDense(p, op, first)
	case *device.Pool:
		if op.Kind == device.MaxPool {
			return newMaxPool(p, op)
		}
		return newAveragePool(p, op)
	case *device.LRN:
		return newLRN(p, op)
	case *device.Dropout:
		return newDropout(p, op)
	case *device.Activation:
		return newActivation(p, op)
	}
	panic("cpu: operation that checkGraph does not know")
}
