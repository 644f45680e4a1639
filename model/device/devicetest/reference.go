package devicetest

import (
	"math"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// reference runs one image through a graph in float64, one operation at a
// time, in the plainest way. Activations are (C, H, W).
type reference struct {
	graph   *device.Graph
	values  []float64 // the vector
	train   bool
	seed    uint64
	step    params.Step
	index   uint32
	outputs [][]float64 // of each operation in the last forward, after the input
}

func newReference(g *device.Graph, values []float32) *reference {
	r := &reference{graph: g, values: make([]float64, len(values))}
	for i, v := range values {
		r.values[i] = float64(v)
	}
	return r
}

// at returns the place of (c, y, x) in s.
func at(s device.Shape, c, y, x int) int { return (c*s.H+y)*s.W + x }

// forward returns the probabilities of an image, and keeps what backward needs.
func (r *reference) forward(image []float32) []float64 {
	x := make([]float64, len(image))
	for i, v := range image {
		x[i] = float64(v)
	}
	r.outputs = append(r.outputs[:0], x)
	for _, op := range r.graph.Ops {
		_, out := op.Shapes()
		y := make([]float64, out.Values())
		r.apply(op, y, x, nil, nil, nil)
		r.outputs = append(r.outputs, y)
		x = y
	}
	return softmax(x)
}

// backward adds to gradient, a vector, the gradient of the last forward's
// cross-entropy with label, and returns that of the image.
func (r *reference) backward(gradient []float64, label int) []float64 {
	dy := softmax(r.outputs[len(r.graph.Ops)])
	dy[label]--
	for i := len(r.graph.Ops) - 1; i >= 0; i-- {
		dx := make([]float64, len(r.outputs[i]))
		r.apply(r.graph.Ops[i], r.outputs[i+1], r.outputs[i], dx, dy, gradient)
		dy = dx
	}
	return dy
}

// loss returns the cross-entropy of an image.
func (r *reference) loss(image []float32, label int) float64 {
	return -math.Log(r.forward(image)[label])
}

// apply computes y from x where dy is nil; else it adds to dx and gradient.
func (r *reference) apply(op device.Op, y, x, dx, dy, gradient []float64) {
	switch op := op.(type) {
	case *device.Conv:
		r.conv(op, y, x, dx, dy, gradient)
	case *device.Dense:
		r.dense(op, y, x, dx, dy, gradient)
	case *device.Pool:
		if op.Kind == device.MaxPool {
			maxPool(op, y, x, dx, dy)
		} else {
			averagePool(op, y, x, dx, dy)
		}
	case *device.LRN:
		lrn(op, y, x, dx, dy)
	case *device.Dropout:
		r.dropout(op, y, x, dx, dy)
	case *device.Activation:
		activation(op, y, x, dx, dy)
	}
}

func softmax(z []float64) []float64 {
	largest, sum := math.Inf(-1), 0.0
	for _, v := range z {
		largest = max(largest, v)
	}
	p := make([]float64, len(z))
	for i, v := range z {
		p[i] = math.Exp(v - largest)
		sum += p[i]
	}
	for i := range p {
		p[i] /= sum
	}
	return p
}
