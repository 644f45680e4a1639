package devicetest

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// testingForm checks that evaluating depends on neither seed, step nor numbers
// of images, and that tallies are those of the shards.
func testingForm(d device.Device) error {
	g := whole()
	counts := []int{3, 0, 18}
	p, err := compile(d, g, 21, 1)
	if err != nil {
		return err
	}
	b := batch(g, []int{0, 1, 2}, counts)
	tallies, err := p.Evaluate(b)
	if err != nil {
		return err
	}
	want := slices.Clone(tallies)
	b.Seed, b.Step, b.Index = 99, 100, nil
	if tallies, err = p.Evaluate(b); err != nil {
		return err
	}
	if !slices.Equal(tallies, want) {
		return fmt.Errorf("tallies %v with another seed and step, want %v", tallies, want)
	}
	one := batch(g, []int{2}, counts)
	if tallies, err = p.Evaluate(one); err != nil {
		return err
	}
	if len(tallies) != 1 || tallies[0] != want[2] {
		return fmt.Errorf("tallies %v of shard 2 alone, want %v", tallies, want[2])
	}
	return p.Close()
}

// evaluationOnly compares a plan that never trains with one that does.
func evaluationOnly(d device.Device) error {
	g := whole()
	b := batch(g, []int{0}, []int{18})
	var want []float32
	for _, nodes := range []int{2, 0} {
		p, err := compile(d, g, 18, nodes)
		if err != nil {
			return err
		}
		got := make([]float32, 18*g.Classes)
		if err := p.Predict(got, &device.Batch{Images: b.Images}); err != nil {
			return fmt.Errorf("images alone: %w", err)
		}
		if want == nil {
			want = got
		}
		if err := sameBits("probabilities without nodes", got, want); err != nil {
			return err
		}
		if _, err := p.Gradient(b, nil); nodes == 0 && err == nil {
			return fmt.Errorf("gradient of a plan for no nodes: no error")
		}
		if err := p.Close(); err != nil {
			return err
		}
	}
	return nil
}

// firstOfEquals gives every window equal values: the gradient of the weights
// below tells which was taken, for they see only that pixel's input.
func firstOfEquals(d device.Device) error {
	g := from(1, 3, 3).conv(1, 1, 1, 0, 1).pool(device.MaxPool, 2, 2, 2, 1, 0, 0).dense(2).done()
	conv, head := g.Ops[0].(*device.Conv), g.Ops[2].(*device.Dense)
	p, err := compile(d, g, 1, 1)
	if err != nil {
		return err
	}
	// Weight 0: every pixel becomes the bias, so all are equal.
	clear(p.Parameters())
	copy(head.Weight.Of(p.Parameters()), []float32{1, 2, 4, 8})
	p.Loaded(params.Range{First: 0, End: g.Parameters})
	b := &device.Batch{
		Images: []float32{1, 10, 100, 1000, 1e4, 1e5, 1e6, 1e6, 1e6}, Labels: []int32{1}, Index: []uint32{0},
		Shards: []device.ShardImages{{Shard: 0, Images: 1}}, Nodes: leaves([]int{0}),
	}
	if _, err := p.Gradient(b, nil); err != nil {
		return err
	}
	// Half of the first class's row comes back: 1, 2, 4, 8 at windows whose
	// first pixels hold 1, 10, 1000, 10000.
	const want = 0.5 * (1*1 + 2*10 + 4*1000 + 8*1e4)
	if got := conv.Weight.Of(p.Sum(0))[0]; got != want {
		return fmt.Errorf("gradient %g, want %g, that of the first of equals", got, float64(want))
	}
	return p.Close()
}

// tapsOutside checks that taps that never touch an image get a gradient of zero.
func tapsOutside(d device.Device) error {
	for _, channels := range []int{5, 17} {
		g := from(channels, 1, 1).conv(6, 3, 1, 1, 1).dense(3).done()
		p, err := compile(d, g, 4, 1)
		if err != nil {
			return err
		}
		b := batch(g, []int{0}, []int{4})
		b.Nodes = leaves([]int{0})
		for range 2 {
			if _, err := p.Gradient(b, nil); err != nil {
				return err
			}
		}
		for i, v := range g.Ops[0].(*device.Conv).Weight.Of(p.Sum(0)) {
			if centre := i%9 == 4; centre == (math.Float32bits(v) == 0) {
				return fmt.Errorf("%d channels: gradient of tap %d of weight %d is %g", channels, i%9, i, v)
			}
		}
		if err := p.Close(); err != nil {
			return err
		}
	}
	return nil
}

// allocations counts what calls allocate once everything is warm.
func allocations(d device.Device) error {
	g := whole()
	counts := []int{17, 3, 0, 6}
	p, err := compile(d, g, 26, 3)
	if err != nil {
		return err
	}
	b := batch(g, []int{0, 1, 2, 3}, counts)
	b.Nodes = []params.Node{params.Root(4), {First: 0, End: 2}, params.Leaf(2)}
	probabilities := make([]float32, 26*g.Classes)
	c, classes, outputs := *b, make([]int32, 26), make([]float32, 26*g.Classes)
	reported := 0
	ready := func(int, params.Range) { reported++ }
	factored, room := *b, newCollector(g, b)
	factored.Factors = &device.Factors{Parts: room.Parts, Done: func(int, device.ShardImages) {}}
	factored.Factors.Room = func(part int, s device.ShardImages) (activations, deltas []float32) {
		r := room.of(part, s)
		return r.activations, r.deltas
	}
	for _, call := range []struct {
		name string
		run  func() error
	}{
		{"Gradient", func() error { _, err := p.Gradient(b, ready); return err }},
		{"Loaded and Gradient", func() error {
			p.Loaded(params.Range{First: 0, End: g.Parameters})
			_, err := p.Gradient(b, ready)
			return err
		}},
		{"Gradient with factors", func() error { _, err := p.Gradient(&factored, ready); return err }},
		{"Evaluate", func() error { _, err := p.Evaluate(b); return err }},
		{"Evaluate with predicted classes", func() error {
			c.Predicted = classes
			_, err := p.Evaluate(&c)
			return err
		}},
		{"Predict", func() error { return p.Predict(probabilities, b) }},
		{"Predict with logits", func() error {
			c.Logits = outputs
			return p.Predict(probabilities, &c)
		}},
	} {
		var failed error
		n := testing.AllocsPerRun(5, func() {
			if err := call.run(); err != nil {
				failed = err
			}
		})
		if failed != nil {
			return failed
		}
		if n != 0 {
			return fmt.Errorf("%s allocates %v times", call.name, n)
		}
	}
	return p.Close()
}
