package model_test

import (
	"math"
	"slices"
	"testing"

	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// goldenLayer is a case of testdata/layers.json: images X go through the layer,
// a fully connected head, softmax and cross-entropy.
type goldenLayer struct {
	Name          string
	Layer         goldenSpec
	Input, Output [3]int
	Classes       int
	Step          params.Step
	Index         []uint32
	Labels        []int32

	X                    []float32 // (N, Input)
	Weight, Bias         []float32
	HeadWeight, HeadBias []float32

	Y                 []float64 // (N, Output)
	Loss              []float64 // (N)
	TestProbabilities []float64 // (N, Classes)
	DX                []float64 // (N, Input), as all below of the sum of the losses
	DWeight, DBias    []float64

	Top1, Top5 int // of softmax alone
}

// goldenSpec tells a layer.
type goldenSpec struct {
	Kind                      string
	Maps, Kernel, Stride, Pad int
	Groups                    int
	Rounding                  string
	Size                      int
	Alpha, Beta, K            float64
	Divided                   bool
	P                         float32
	Inverted                  bool
	Layer                     uint32
	Function                  string
}

// build returns the layer of s, nil for softmax.
func (s goldenSpec) build(t *testing.T) model.Layer {
	rounding := map[string]model.Rounding{"down": model.RoundDown, "up": model.RoundUp, "same": model.Same}
	functions := map[string]device.ActivationKind{"relu": device.ReLU, "leaky-relu": device.LeakyReLU, "softplus": device.Softplus}
	window := model.Window{Kernel: s.Kernel, Stride: s.Stride, Pad: s.Pad, Rounding: rounding[s.Rounding]}
	switch s.Kind {
	case "conv":
		return &model.Conv{Name: "layer", Maps: s.Maps, Window: window, Groups: s.Groups}
	case "dense":
		return &model.Dense{Name: "layer", Outputs: s.Maps}
	case "max-pool":
		return &model.Pool{Name: "layer", Function: device.MaxPool, Window: window}
	case "average-pool":
		return &model.Pool{Name: "layer", Function: device.AveragePool, Window: window}
	case "lrn":
		return &model.LRN{Name: "layer", Size: s.Size, Alpha: s.Alpha, Beta: s.Beta, K: s.K, DivideBySize: s.Divided}
	case "dropout":
		return &model.Dropout{Name: "layer", P: s.P, Inverted: s.Inverted, Number: s.Layer}
	case "activation":
		return &model.Activation{Name: "layer", Function: functions[s.Function]}
	case "softmax":
		return nil
	}
	t.Fatalf("unknown kind %q of layer", s.Kind)
	return nil
}

// bench is a graph around one layer. Its images are one-hot, (N, 1, 1), and its
// first operation, the source, is a convolution whose kernel covers the map, so
// that of each image one tap falls on every pixel: what comes out for image n
// are the weights from input n, and their gradient is the layer's dx. The head's
// weights get the gradient dlogit*y, which shows the layer's output.
type bench struct {
	golden         *goldenLayer
	in, out        device.Shape
	graph          *device.Graph
	source, weight params.Range
	bias           params.Range
	head, headBias params.Range
	plan           device.Plan
}

func newBench(t *testing.T, g *goldenLayer) *bench {
	b := &bench{
		golden: g,
		in:     device.Shape{C: g.Input[0], H: g.Input[1], W: g.Input[2]},
		out:    device.Shape{C: g.Output[0], H: g.Output[1], W: g.Output[2]},
	}
	n := len(g.Index)
	images := device.Shape{C: n, H: 1, W: 1}
	b.graph = &device.Graph{Input: images, Classes: g.Classes}
	take := func(values int) params.Range {
		r := params.Range{First: b.graph.Parameters, End: b.graph.Parameters + values}
		b.graph.Parameters = r.End
		return r
	}
	k := max(b.in.H, b.in.W)
	b.source = take(b.in.C * n * k * k)
	b.graph.Ops = append(b.graph.Ops, &device.Conv{
		Place:  device.Place{Name: "source", In: images, Out: b.in},
		Kernel: k, Stride: 1, PadTop: b.in.H - 1, PadLeft: b.in.W - 1, Groups: 1,
		Weight: b.source, Bias: take(b.in.C), SkipInputGradient: true,
	})
	if layer := g.Layer.build(t); layer != nil {
		out, err := layer.Output(b.in)
		if err != nil || out != b.out {
			t.Fatalf("output for %v: %v, %v; want %v", b.in, out, err, b.out)
		}
		if len(g.Weight) > 0 {
			b.weight, b.bias = take(len(g.Weight)), take(len(g.Bias))
		}
		b.head, b.headBias = take(g.Classes*out.Values()), take(g.Classes)
		b.graph.Ops = append(b.graph.Ops,
			layer.Op(device.Place{Name: "layer", In: b.in, Out: out}, []params.Range{b.weight, b.bias}),
			&device.Dense{
				Place:  device.Place{Name: "head", In: out, Out: device.Shape{C: g.Classes, H: 1, W: 1}},
				Weight: b.head, Bias: b.headBias,
			})
	}
	var err error
	b.plan, err = goldenDevice(t).Compile(b.graph, device.Options{Images: n, Nodes: n})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.plan.Close(); err != nil {
			t.Error(err)
		}
	})
	w := b.plan.Parameters()
	b.eachSource(func(image, at int) { b.source.Of(w)[at] = g.X[image] })
	copy(b.weight.Of(w), g.Weight)
	copy(b.bias.Of(w), g.Bias)
	copy(b.head.Of(w), g.HeadWeight)
	copy(b.headBias.Of(w), g.HeadBias)
	b.plan.Loaded(params.Range{First: 0, End: len(w)})
	return b
}

// eachSource calls f with each place of the images (N, Input) and the weight of
// the source that is its value.
func (b *bench) eachSource(f func(image, at int)) {
	n, k := len(b.golden.Index), max(b.in.H, b.in.W)
	image := 0
	for i := range n {
		for c := range b.in.C {
			for y := range b.in.H {
				for x := range b.in.W {
					f(image, ((c*n+i)*k+b.in.H-1-y)*k+b.in.W-1-x)
					image++
				}
			}
		}
	}
}

// batch returns the images, each a shard of its own.
func (b *bench) batch(seed uint64) *device.Batch {
	n := len(b.golden.Index)
	batch := &device.Batch{
		Seed: seed, Step: b.golden.Step,
		Images: make([]float32, n*n), Labels: b.golden.Labels, Index: b.golden.Index,
	}
	for i := range n {
		batch.Images[i*n+i] = 1
		batch.Shards = append(batch.Shards, device.ShardImages{Shard: i, Images: 1})
		batch.Nodes = append(batch.Nodes, params.Leaf(i))
	}
	return batch
}

func TestLayersMatchPyTorch(t *testing.T) {
	var cases []goldenLayer
	header := readGolden(t, "layers.json", &cases)
	for _, g := range cases {
		t.Run(g.Name, func(t *testing.T) {
			b := newBench(t, &g)
			batch := b.batch(header.Seed)
			b.checkOutput(t, batch)
			b.checkGradient(t, batch)
			b.checkTesting(t, batch)
		})
	}
}

// checkOutput checks each image's loss, and the layer's output for it.
func (b *bench) checkOutput(t *testing.T, batch *device.Batch) {
	tallies, err := b.plan.Gradient(batch, nil)
	if err != nil {
		t.Fatal(err)
	}
	var losses []float64
	var y []float32
	for i, tally := range tallies {
		losses = append(losses, tally.Loss)
		if b.head.Len() == 0 {
			continue
		}
		label := int(b.golden.Labels[i])
		sum, n := b.plan.Sum(i), b.out.Values()
		for _, dw := range b.head.Of(sum)[label*n : (label+1)*n] {
			y = append(y, dw/b.headBias.Of(sum)[label])
		}
	}
	forward.compare64(t, "loss", losses, b.golden.Loss)
	forward.compare(t, "y", y, b.golden.Y)
}

// checkGradient checks the gradients of the sum over all images.
func (b *bench) checkGradient(t *testing.T, batch *device.Batch) {
	all := *batch
	all.Nodes = []params.Node{params.Root(len(batch.Shards))}
	if _, err := b.plan.Gradient(&all, nil); err != nil {
		t.Fatal(err)
	}
	sum := b.plan.Sum(0)
	dx := make([]float32, len(b.golden.X))
	b.eachSource(func(image, at int) { dx[image] = b.source.Of(sum)[at] })
	backward.compare(t, "dx", dx, b.golden.DX)
	backward.compare(t, "dweight", b.weight.Of(sum), b.golden.DWeight)
	backward.compare(t, "dbias", b.bias.Of(sum), b.golden.DBias)
}

// checkTesting checks probabilities, losses and ranks in testing form.
func (b *bench) checkTesting(t *testing.T, batch *device.Batch) {
	p := make([]float32, len(b.golden.TestProbabilities))
	if err := b.plan.Predict(p, batch); err != nil {
		t.Fatal(err)
	}
	forward.compare(t, "probabilities in testing", p, b.golden.TestProbabilities)
	tallies, err := b.plan.Evaluate(batch)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []float64
	top1, top5 := 0, 0
	for i, tally := range tallies {
		row := b.golden.TestProbabilities[i*b.golden.Classes : (i+1)*b.golden.Classes]
		got, want = append(got, tally.Loss), append(want, -math.Log(row[b.golden.Labels[i]]))
		top1, top5 = top1+tally.Top1, top5+tally.Top5
	}
	forward.compare64(t, "loss in testing", got, want)
	if b.golden.Layer.Kind == "softmax" && (top1 != b.golden.Top1 || top5 != b.golden.Top5) {
		t.Errorf("%d ranked first, %d among the first five; want %d, %d", top1, top5, b.golden.Top1, b.golden.Top5)
	}
}

// A case that is lost from the file must be missed.
func TestGoldenDataCoverEveryKindOfLayer(t *testing.T) {
	var cases []goldenLayer
	readGolden(t, "layers.json", &cases)
	var kinds []string
	for _, g := range cases {
		kinds = append(kinds, g.Layer.Kind)
	}
	for _, kind := range []string{"conv", "dense", "max-pool", "average-pool", "lrn", "dropout", "activation", "softmax"} {
		if !slices.Contains(kinds, kind) {
			t.Errorf("no case of %s", kind)
		}
	}
}
