package cpu

import (
	"errors"
	"fmt"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// errNeverTrains is returned by Gradient where the plan holds no gradients.
var errNeverTrains = errors.New("the plan was compiled for 0 nodes, so it never trains")

// Gradient computes the sums over each node's shards of the gradients, and a
// tally for each shard.
func (p *plan) Gradient(b *device.Batch, ready func(node int, r params.Range)) ([]device.Tally, error) {
	if err := p.begin(b, true); err != nil {
		return nil, fmt.Errorf("cpu: gradient: %w", err)
	}
	p.sums.plan(b)
	if err := p.forward(true); err != nil {
		p.batch = nil
		return nil, err
	}
	p.softmax.run(b.Labels, p.gradients[0])
	p.profile.loss()
	p.backward(ready)
	p.batch = nil
	return p.tally(b.Shards), nil
}

// Evaluate runs the network in testing form and returns a tally for each shard.
func (p *plan) Evaluate(b *device.Batch) ([]device.Tally, error) {
	if err := p.begin(b, false); err != nil {
		return nil, fmt.Errorf("cpu: evaluate: %w", err)
	}
	if err := p.forward(false); err != nil {
		return nil, err
	}
	p.softmax.run(b.Labels, nil)
	p.profile.loss()
	if b.Predicted != nil {
		p.softmax.first(b.Predicted)
	}
	p.batch = nil
	return p.tally(b.Shards), nil
}

// Predict runs the network in testing form and writes the probabilities of all
// images of b to probabilities (N, Classes), and its outputs to b.Logits where
// there is room for them.
func (p *plan) Predict(probabilities []float32, b *device.Batch) error {
	if p.closed {
		return fmt.Errorf("cpu: predict: %w", errPlanClosed)
	}
	n := len(b.Images) / p.graph.Input.Values()
	if err := p.admit(b, n, false); err != nil {
		return fmt.Errorf("cpu: predict: %w", err)
	}
	if len(probabilities) != n*p.graph.Classes {
		return fmt.Errorf("cpu: predict: room for %d probabilities: want %d, %d images of %d classes",
			len(probabilities), n*p.graph.Classes, n, p.graph.Classes)
	}
	if b.Logits != nil && len(b.Logits) != len(probabilities) {
		return fmt.Errorf("cpu: predict: room for %d logits: want %d, %d images of %d classes",
			len(b.Logits), n*p.graph.Classes, n, p.graph.Classes)
	}
	if err := p.forward(false); err != nil {
		return err
	}
	p.softmax.run(nil, nil)
	p.profile.loss()
	p.softmax.byImage(probabilities, p.softmax.e)
	if b.Logits != nil {
		p.softmax.byImage(b.Logits, p.softmax.z)
	}
	p.batch = nil
	return nil
}

// begin takes up a batch with labels.
func (p *plan) begin(b *device.Batch, train bool) error {
	if p.closed {
		return errPlanClosed
	}
	n, err := countImages(b.Shards)
	if err != nil {
		return err
	}
	if train {
		if !p.trains() {
			return errNeverTrains
		}
		if err := checkNodes(b.Nodes, p.options.Nodes); err != nil {
			return err
		}
		if len(b.Index) != n {
			return fmt.Errorf("%d image numbers for %d images", len(b.Index), n)
		}
		if err := p.takeFactors(b.Factors); err != nil {
			return err
		}
	}
	if b.Predicted != nil && len(b.Predicted) != n {
		return fmt.Errorf("room for %d predicted classes: want %d", len(b.Predicted), n)
	}
	return p.admit(b, n, true)
}

// forward runs all layers. Its errors are Await's.
func (p *plan) forward(train bool) error {
	p.profile.begin()
	p.pool.run(p.blocks, (*loadTask)(p))
	p.profile.input()
	for i, l := range p.layers {
		if w, ok := l.(weighted); ok {
			if train && p.batch.Await != nil {
				weight, bias := w.ranges()
				for _, r := range [2]params.Range{weight, bias} {
					if err := p.batch.Await(r); err != nil {
						return err
					}
				}
			}
			w.pack()
		}
		l.forward(train)
		p.profile.forward(i)
	}
	return nil
}

// backward runs the layers in reverse, down to the lowest that has parameters,
// and reports each layer's gradients as they are done.
func (p *plan) backward(ready func(node int, r params.Range)) {
	dy, dx := p.gradients[0], p.gradients[1]
	for i := len(p.layers) - 1; i >= p.lowest; i-- {
		l := p.layers[i]
		if w, ok := l.(weighted); ok {
			w.handOut(dy)
			w.gradient(dy)
			p.profile.weights(i)
			report(w, len(p.batch.Nodes), ready)
			p.profile.begin()
		}
		if i == p.lowest {
			return
		}
		if backOver(l) {
			l.backward(dy, dy)
			p.profile.backward(i)
			continue
		}
		l.backward(dx, dy)
		p.profile.backward(i)
		dy, dx = dx, dy
	}
}

// backOver tells whether a layer's backward may write over its argument.
func backOver(l layer) bool {
	_, activation := l.(*activation)
	return activation || l.overwrites()
}

func report(w weighted, nodes int, ready func(node int, r params.Range)) {
	if ready == nil {
		return
	}
	ranges := w.summed()
	for node := range nodes {
		for _, r := range ranges {
			if r.Len() > 0 {
				ready(node, r)
			}
		}
	}
}

// loadTask brings the images (N, C, H, W) of a lane block into the order of
// activations, with zeros for the images that it lacks.
type loadTask plan

func (t *loadTask) do(_, block int) {
	p := (*plan)(t)
	in := p.graph.Input
	n, pixels := in.Values(), in.H*in.W
	images := p.batch.Images[block*lanes*n:]
	count := min(lanes, p.images-block*lanes)
	x := p.input[block*n*lanes : (block+1)*n*lanes]
	var starts [lanes]int
	for i := range count {
		starts[i] = i * n
	}
	perPixel := in.C * lanes
	for c := range in.C {
		pixel := 0
		for ; pixel+lanes <= pixels; pixel += lanes {
			kernel.Transpose(x[pixel*perPixel+c*lanes:], perPixel, 0, images[c*pixels+pixel:], starts[:count])
		}
		for ; pixel < pixels; pixel++ {
			row := (*[lanes]float32)(x[pixel*perPixel+c*lanes:])
			clear(row[count:])
			for i := range count {
				row[i] = images[c*pixels+pixel+i*n]
			}
		}
	}
}

// tally adds up what the last forward pass found, shard by shard.
func (p *plan) tally(shards []device.ShardImages) []device.Tally {
	p.tallies = p.tallies[:0]
	image := 0
	for _, s := range shards {
		t := device.Tally{Shard: s.Shard, Images: s.Images}
		for range s.Images {
			t.Loss += float64(p.softmax.losses[image])
			if p.softmax.ranks[image] == 0 {
				t.Top1++
			}
			if p.softmax.ranks[image] < 5 {
				t.Top5++
			}
			image++
		}
		p.tallies = append(p.tallies, t)
	}
	return p.tallies
}
