package devicetest

import (
	"fmt"
	"math"

	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// The purposes of this package's random numbers, apart from the program's own.
const (
	forParameters philox.Purpose = 100<<16 + iota
	forPixels
	forLabels
)

// uniform returns a number in [-1, 1).
func uniform(s *philox.Stream) float32 { return 2*s.Float32() - 1 }

// parameters fills v, the vector of g, with numbers of which sums keep to about 1.
func parameters(v []float32, g *device.Graph, seed uint64) {
	for i, op := range g.Ops {
		weight, bias, fan := parametersOf(op)
		s := philox.New(seed, forParameters, uint32(i), 0)
		scale := float32(math.Sqrt(3 / float64(max(fan, 1))))
		for j := range weight.Of(v) {
			v[weight.First+j] = scale * uniform(&s)
		}
		for j := range bias.Of(v) {
			v[bias.First+j] = 0.3 * uniform(&s)
		}
	}
}

// parametersOf returns the ranges of op's parameters, and how many values go
// into one of its outputs.
func parametersOf(op device.Op) (weight, bias params.Range, fan int) {
	switch op := op.(type) {
	case *device.Conv:
		return op.Weight, op.Bias, op.Weight.Len() / op.Out.C
	case *device.Dense:
		return op.Weight, op.Bias, op.Weight.Len() / op.Out.C
	}
	return
}

// batch returns a batch of g for some shards; shard s has counts[s] images.
// What an image is depends on its shard and its number there, not on the batch.
func batch(g *device.Graph, shards []int, counts []int) *device.Batch {
	b := &device.Batch{Seed: 0x1234567890, Step: 7}
	for _, s := range shards {
		b.Shards = append(b.Shards, device.ShardImages{Shard: s, Images: counts[s]})
		for i := range counts[s] {
			image := uint32(1000*s + i)
			pixels := philox.New(1, forPixels, image, 0)
			for range g.Input.Values() {
				b.Images = append(b.Images, uniform(&pixels))
			}
			labels := philox.New(1, forLabels, image, 0)
			b.Labels = append(b.Labels, int32(labels.IntN(g.Classes)))
			b.Index = append(b.Index, image)
		}
	}
	return b
}

// compile returns a plan of g with random parameters.
func compile(d device.Device, g *device.Graph, images, nodes int) (device.Plan, error) {
	return compileFor(d, g, device.Options{Images: images, Nodes: nodes})
}

func compileFor(d device.Device, g *device.Graph, o device.Options) (device.Plan, error) {
	p, err := d.Compile(g, o)
	if err != nil {
		return nil, err
	}
	if len(p.Parameters()) != g.Parameters {
		return nil, fmt.Errorf("the vector has %d values, want %d", len(p.Parameters()), g.Parameters)
	}
	parameters(p.Parameters(), g, 5)
	p.Loaded(params.Range{First: 0, End: g.Parameters})
	return p, nil
}

// sameBits returns an error that names the first value in which got and want differ.
func sameBits(what string, got, want []float32) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			return fmt.Errorf("%s: value %d is %g (%#08x), want %g (%#08x)",
				what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
	return nil
}

// sameTally returns an error where got and want differ, with equal losses bit for bit.
func sameTally(what string, got, want device.Tally) error {
	if got != want {
		return fmt.Errorf("%s: tally %+v, want %+v", what, got, want)
	}
	return nil
}
