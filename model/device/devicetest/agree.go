package devicetest

import (
	"fmt"
	"math"

	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// imagesOfCase is the batch of comparisons: a lane block's worth of images
// would hide what goes wrong at its border.
const imagesOfCase = 19

// closeTo returns an error where got is further than the tolerances from want:
// atol of the largest want, rtol of each.
func closeTo(what string, got []float32, want []float64, atol, rtol float64) error {
	largest := 0.0
	for _, w := range want {
		largest = max(largest, math.Abs(w))
	}
	worst, excess := -1, 0.0
	for i, w := range want {
		off := math.Abs(float64(got[i])-w) - atol*largest - rtol*math.Abs(w)
		if !(off <= excess) {
			worst, excess = i, off
		}
	}
	if worst >= 0 {
		return fmt.Errorf("%s: value %d of %d is %g, want %g (largest %g)", what, worst, len(want), got[worst], want[worst], largest)
	}
	return nil
}

// forwardAgrees compares the probabilities and tallies of the testing form.
func forwardAgrees(d device.Device, c graphCase) error {
	p, err := compile(d, c.graph, imagesOfCase, 0)
	if err != nil {
		return err
	}
	b := batch(c.graph, []int{0}, []int{imagesOfCase})
	got := make([]float32, imagesOfCase*c.graph.Classes)
	if err := p.Predict(got, b); err != nil {
		return err
	}
	r := newReference(c.graph, p.Parameters())
	n := c.graph.Input.Values()
	var want []float64
	var loss float64
	for i := range imagesOfCase {
		probabilities := r.forward(b.Images[i*n : (i+1)*n])
		want = append(want, probabilities...)
		loss -= math.Log(probabilities[b.Labels[i]])
	}
	if err := closeTo("probabilities", got, want, 1e-6, 1e-5); err != nil {
		return err
	}
	tallies, err := p.Evaluate(b)
	if err != nil {
		return err
	}
	if err := tallyAgrees(tallies, loss, got, b, c.graph.Classes); err != nil {
		return err
	}
	return p.Close()
}

// tallyAgrees checks the one tally of a batch against probabilities that have
// no equals.
func tallyAgrees(tallies []device.Tally, loss float64, p []float32, b *device.Batch, classes int) error {
	if len(tallies) != 1 {
		return fmt.Errorf("%d tallies, want 1", len(tallies))
	}
	want := device.Tally{Shard: b.Shards[0].Shard, Images: b.Shards[0].Images, Loss: tallies[0].Loss}
	for i, label := range b.Labels {
		rank := 0
		for c := range classes {
			if p[i*classes+c] > p[i*classes+int(label)] {
				rank++
			}
		}
		if rank == 0 {
			want.Top1++
		}
		if rank < 5 {
			want.Top5++
		}
	}
	if tallies[0] != want {
		return fmt.Errorf("tally %+v, want %+v", tallies[0], want)
	}
	if math.Abs(tallies[0].Loss-loss) > 1e-5*(1+math.Abs(loss)) {
		return fmt.Errorf("loss %g, want %g", tallies[0].Loss, loss)
	}
	return nil
}

// gradientAgrees compares the loss and the gradient of the training form.
func gradientAgrees(d device.Device, c graphCase) error {
	p, err := compile(d, c.graph, imagesOfCase, 1)
	if err != nil {
		return err
	}
	b := batch(c.graph, []int{0}, []int{imagesOfCase})
	b.Nodes = []params.Node{params.Leaf(0)}
	tallies, err := p.Gradient(b, nil)
	if err != nil {
		return err
	}
	loss, want := c.gradient(p.Parameters(), b)
	if len(tallies) != 1 || math.Abs(tallies[0].Loss-loss) > 1e-5*(1+math.Abs(loss)) {
		return fmt.Errorf("tallies %+v, want one of loss %g", tallies, loss)
	}
	for _, op := range c.graph.Ops {
		weight, bias, _ := parametersOf(op)
		for _, r := range []params.Range{weight, bias} {
			what := fmt.Sprintf("gradient of %s, from %d", op.Label(), r.First)
			if err := closeTo(what, r.Of(p.Sum(0)), want[r.First:r.End], 2e-6, 1e-4); err != nil {
				return err
			}
		}
	}
	return p.Close()
}

// gradient returns the reference's loss and gradient of a batch.
func (c graphCase) gradient(values []float32, b *device.Batch) (loss float64, gradient []float64) {
	r := newReference(c.graph, values)
	r.train, r.seed, r.step = true, b.Seed, b.Step
	gradient = make([]float64, c.graph.Parameters)
	n := c.graph.Input.Values()
	for i, label := range b.Labels {
		r.index = b.Index[i]
		loss += r.loss(b.Images[i*n:(i+1)*n], int(label))
		r.backward(gradient, int(label))
	}
	return loss, gradient
}

// Central differences: how far parameters are moved, and how many of each tensor.
const (
	distance = 1e-6
	samples  = 4
)

// differencesAgree compares some values of the gradient with what the loss does
// when the parameter moves.
func differencesAgree(d device.Device, c graphCase) error {
	const images = 2
	p, err := compile(d, c.graph, images, 1)
	if err != nil {
		return err
	}
	b := batch(c.graph, []int{0}, []int{images})
	b.Nodes = []params.Node{params.Leaf(0)}
	if _, err := p.Gradient(b, nil); err != nil {
		return err
	}
	r := newReference(c.graph, p.Parameters())
	r.train, r.seed, r.step = true, b.Seed, b.Step
	for i, op := range c.graph.Ops {
		weight, bias, _ := parametersOf(op)
		s := philox.New(9, forParameters, uint32(i), 1)
		for _, tensor := range []params.Range{weight, bias} {
			for range min(samples, tensor.Len()) {
				at := tensor.First + s.IntN(tensor.Len())
				want := r.slope(b, at)
				if got := float64(p.Sum(0)[at]); math.Abs(got-want) > 1e-4+1e-3*math.Abs(want) {
					return fmt.Errorf("gradient of %s: value %d is %g, want %g", op.Label(), at-tensor.First, got, want)
				}
			}
		}
	}
	return p.Close()
}

// slope returns how the loss of a batch changes with one parameter.
func (r *reference) slope(b *device.Batch, at int) float64 {
	n := r.graph.Input.Values()
	kept := r.values[at]
	defer func() { r.values[at] = kept }()
	var loss [2]float64
	for side, value := range []float64{kept - distance, kept + distance} {
		r.values[at] = value
		for i, label := range b.Labels {
			r.index = b.Index[i]
			loss[side] += r.loss(b.Images[i*n:(i+1)*n], int(label))
		}
	}
	return (loss[1] - loss[0]) / (2 * distance)
}
