package devicetest

import (
	"fmt"
	"strings"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// clearError checks that an error is there and reads like a sentence of ours: one
// line that is not a panic's.
func clearError(what string, err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("%s: no error", what)
	case strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "runtime error"):
		return fmt.Errorf("%s: error %q is not one clear sentence", what, err)
	}
	return nil
}

// unsoundGraphs compiles graphs with one thing wrong.
func unsoundGraphs(d device.Device) error {
	sound := func() *chain { return from(4, 5, 5).conv(6, 3, 1, 1, 2).relu().pool(device.MaxPool, 2, 2, 3, 2, 0, 0) }
	options := device.Options{Images: 4, Nodes: 1}
	for _, tc := range []struct {
		what    string
		options device.Options
		change  func(g *device.Graph)
	}{
		{"no images", device.Options{Images: 0, Nodes: 1}, func(*device.Graph) {}},
		{"fewer than no nodes", device.Options{Images: 1, Nodes: -1}, func(*device.Graph) {}},
		{"sums of an unknown precision", device.Options{Images: 1, Nodes: 1, Sums: 7}, func(*device.Graph) {}},
		{"no operations", options, func(g *device.Graph) { g.Ops = nil }},
		{"an operation of no kind", options, func(g *device.Graph) { g.Ops[1] = nil }},
		{"an input of no height", options, func(g *device.Graph) { g.Input.H = 0 }},
		{"shapes that don't meet", options, func(g *device.Graph) { g.Ops = append(g.Ops[:1], g.Ops[2:]...); g.Ops[0] = g.Ops[1] }},
		{"another number of classes", options, func(g *device.Graph) { g.Classes = 4 }},
		{"groups that don't divide", options, func(g *device.Graph) { g.Ops[0].(*device.Conv).Groups = 3 }},
		{"stride 0", options, func(g *device.Graph) { g.Ops[0].(*device.Conv).Stride = 0 }},
		{"negative padding", options, func(g *device.Graph) { g.Ops[0].(*device.Conv).PadTop = -1 }},
		{"too few weights", options, func(g *device.Graph) { g.Ops[0].(*device.Conv).Weight.First++ }},
		{"parameters that overlap", options, func(g *device.Graph) {
			b := &g.Ops[0].(*device.Conv).Bias
			b.First, b.End = b.First-1, b.End-1
		}},
		{"parameters left over", options, func(g *device.Graph) { g.Parameters++ }},
		{"a window past the image", options, func(g *device.Graph) { g.Ops[2].(*device.Pool).Stride = 5 }},
		{"dropout of everything", options, func(g *device.Graph) { g.Ops[3].(*device.Dropout).P = 1 }},
		{"an input gradient that is needed", options, func(g *device.Graph) { g.Ops[4].(*device.Dense).SkipInputGradient = true }},
	} {
		g := sound().dropout(0.5, false).dense(3).done()
		tc.change(g)
		p, err := d.Compile(g, tc.options)
		if err := clearError("compile with "+tc.what, err); err != nil {
			return err
		}
		if p != nil {
			return fmt.Errorf("compile with %s: a plan beside the error", tc.what)
		}
	}
	return nil
}

// unsoundBatches calls a plan with one thing wrong, and then with nothing wrong.
func unsoundBatches(d device.Device) error {
	g := from(2, 3, 3).conv(4, 3, 1, 1, 1).relu().dropout(0.5, false).dense(3).done()
	p, err := compile(d, g, 6, 1)
	if err != nil {
		return err
	}
	sound := func() *device.Batch {
		b := batch(g, []int{1, 2}, []int{0, 2, 3})
		b.Nodes = []params.Node{{First: 0, End: 4}}
		return b
	}
	head := g.Ops[len(g.Ops)-1].(*device.Dense)
	wants := func(parts ...params.Range) func(b *device.Batch) {
		return func(b *device.Batch) {
			b.Factors = newCollector(g, b).Factors
			b.Factors.Parts = parts
		}
	}
	const training, labelled, all = 1, 2, 3 // which calls must fail
	for _, tc := range []struct {
		what   string
		calls  int
		change func(b *device.Batch)
	}{
		{"too many images", all, func(b *device.Batch) { *b = *batch(g, []int{1}, []int{0, 7}) }},
		{"a value too few", all, func(b *device.Batch) { b.Images = b.Images[1:] }},
		{"a label too few", labelled, func(b *device.Batch) { b.Labels = b.Labels[1:] }},
		{"a label too high", labelled, func(b *device.Batch) { b.Labels[4] = 3 }},
		{"a label below 0", labelled, func(b *device.Batch) { b.Labels[0] = -1 }},
		{"shards out of order", labelled, func(b *device.Batch) { b.Shards[1].Shard = 1 }},
		{"a shard below 0", labelled, func(b *device.Batch) { b.Shards[0].Shard = -1 }},
		{"fewer than no images", labelled, func(b *device.Batch) { b.Shards[0].Images = -1 }},
		{"an image number too few", training, func(b *device.Batch) { b.Index = b.Index[1:] }},
		{"too many nodes", training, func(b *device.Batch) { b.Nodes = append(b.Nodes, params.Leaf(5)) }},
		{"shards that are no node", training, func(b *device.Batch) { b.Nodes[0] = params.Node{First: 1, End: 3} }},
		{"a node of no shards", training, func(b *device.Batch) { b.Nodes[0] = params.Node{First: 2, End: 2} }},
		{"factors of a convolution", training, wants(params.Range{First: 2, End: 9})},
		{"factors of biases", training, wants(params.Range{First: head.Bias.First - 1, End: head.Bias.First + 1})},
		{"factors of nothing", training, wants(params.Range{First: head.Weight.First, End: head.Weight.First})},
		{"factors of one layer in two parts", training, wants(params.Range{First: head.Weight.First, End: head.Weight.First + 2}, params.Range{First: head.Weight.First + 2, End: head.Weight.End})},
	} {
		b := sound()
		tc.change(b)
		if _, err := p.Gradient(b, nil); clearError("", err) != nil {
			return clearError("gradient with "+tc.what, err)
		}
		if _, err := p.Evaluate(b); tc.calls >= labelled && clearError("", err) != nil {
			return clearError("evaluate with "+tc.what, err)
		}
		if err := p.Predict(make([]float32, 15), b); tc.calls >= all && clearError("", err) != nil {
			return clearError("predict with "+tc.what, err)
		}
	}
	if err := clearError("predict with too little room", p.Predict(make([]float32, 14), sound())); err != nil {
		return err
	}
	if _, err := p.Gradient(sound(), nil); err != nil {
		return fmt.Errorf("sound batch after unsound ones: %w", err)
	}
	if err := p.Close(); err != nil {
		return err
	}
	_, err = p.Gradient(sound(), nil)
	return clearError("gradient of a closed plan", err)
}
