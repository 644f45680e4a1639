package devicetest

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
)

// TestDefectsAreFound runs on each defective device the check that is about it.
func TestDefectsAreFound(t *testing.T) {
	var kept []byte
	for _, tc := range []struct {
		defect string
		check  string
		device *faulty
	}{
		{"a value of the gradient is off by a thousandth", "GradientAgrees/dense", after(func(p *faultyPlan, _ *device.Batch, _ []device.Tally) {
			p.Sum(0)[30] *= 1.001
		})},
		{"a gradient has the other sign", "CentralDifferencesAgree/dense", after(func(p *faultyPlan, _ *device.Batch, _ []device.Tally) {
			for i := range p.Sum(0) {
				p.Sum(0)[i] *= -1
			}
		})},
		{"the loss is a mean", "GradientAgrees/relu", after(func(_ *faultyPlan, b *device.Batch, tallies []device.Tally) {
			tallies[0].Loss /= float64(images(b))
		})},
		{"dropout forgets the step", "GradientAgrees/dropout", &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
			c := *b
			c.Step = 0
			return p.Plan.Gradient(&c, ready)
		}}},
		{"dropout numbers images by their place", "ShardAloneOrAmongOthersGivesSameBits", &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
			c := *b
			c.Index = make([]uint32, images(b))
			for i := range c.Index {
				c.Index[i] = uint32(i)
			}
			return p.Plan.Gradient(&c, ready)
		}}},
		{"probabilities don't sum to 1", "ForwardAgrees/conv groups", &faulty{predict: func(p *faultyPlan, out []float32, b *device.Batch) error {
			err := p.Plan.Predict(out, b)
			for i := range out {
				out[i] *= 1.0001
			}
			return err
		}}},
		{"a last bit depends on the batch", "ShardAloneOrAmongOthersGivesSameBits", after(func(p *faultyPlan, b *device.Batch, _ []device.Tally) {
			if images(b) > 20 {
				nudge(&p.Sum(2)[77])
			}
		})},
		{"a last bit depends on the size of the batch", "BatchOfAnySizeGivesSameBits", after(func(p *faultyPlan, b *device.Batch, _ []device.Tally) {
			if images(b) == 33 {
				nudge(&p.Sum(0)[5])
			}
		})},
		{"a last bit depends on the call", "CallsBeforeChangeNothing", after(func(p *faultyPlan, _ *device.Batch, _ []device.Tally) {
			if p.calls > 2 {
				nudge(&p.Sum(0)[11])
			}
		})},
		{"a loss depends on the call", "CallsBeforeChangeNothing", after(func(p *faultyPlan, _ *device.Batch, tallies []device.Tally) {
			tallies[0].Loss += float64(p.calls) * 1e-9
		})},
		{"nodes are summed in another order", "NodeIsTreeSumOfItsShards", after(func(p *faultyPlan, b *device.Batch, _ []device.Tally) {
			for i, n := range b.Nodes {
				if n.Len() > 3 {
					nudge(&p.Sum(i)[9])
				}
			}
		})},
		{"sums keep all of their bits", "RoundedSumsAreRoundedAtEveryNode", &faulty{compile: func(d device.Device, g *device.Graph, o device.Options) (device.Plan, error) {
			o.Sums = device.F32
			return d.Compile(g, o)
		}}},
		{"sums are rounded at the end alone", "RoundedSumsAreRoundedAtEveryNode", &faulty{
			compile: func(d device.Device, g *device.Graph, o device.Options) (device.Plan, error) {
				o.Sums = device.F32
				return d.Compile(g, o)
			},
			gradient: after(func(p *faultyPlan, b *device.Batch, _ []device.Tally) {
				for i := range b.Nodes {
					for j, v := range p.Sum(i) {
						p.Sum(i)[j] = bfloat16(v)
					}
				}
			}).gradient,
		}},
		{"leaves alone are rounded", "RoundedSumsAreRoundedAtEveryNode", after(func(p *faultyPlan, b *device.Batch, _ []device.Tally) {
			for i, n := range b.Nodes {
				if n.Len() != 2 {
					continue
				}
				l, r := slices.Index(b.Nodes, params.Leaf(n.First)), slices.Index(b.Nodes, params.Leaf(n.First+1))
				if l < 0 || r < 0 {
					continue
				}
				for j := range p.Sum(i) {
					p.Sum(i)[j] = p.Sum(l)[j] + p.Sum(r)[j]
				}
			}
		})},
		{"a node without images keeps old sums", "ShardsWithoutImagesArePassedOver", after(func(p *faultyPlan, b *device.Batch, _ []device.Tally) {
			for i, n := range b.Nodes {
				if n == params.Leaf(8) {
					p.Sum(i)[0] = 1
				}
			}
		})},
		{"ranges are reported twice", "EachRangeIsReportedOnceWhenFinal", &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
			return p.Plan.Gradient(b, func(node int, r params.Range) { ready(node, r); ready(node, r) })
		}}},
		{"ranges are reported before they are final", "EachRangeIsReportedOnceWhenFinal", &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
			for i := range b.Nodes {
				ready(i, params.Range{First: 0, End: len(p.Sum(i))})
			}
			return p.Plan.Gradient(b, nil)
		}}},
		{"a node is not reported", "EachRangeIsReportedOnceWhenFinal", &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
			return p.Plan.Gradient(b, func(node int, r params.Range) {
				if node != 1 {
					ready(node, r)
				}
			})
		}}},
		{"a delta of an image is off", "FactorsMultiplyToTheSumsOfShards", withFactors(func(f *device.Factors, part int, s device.ShardImages) {
			_, deltas := f.Room(part, s)
			nudge(&deltas[len(deltas)-1])
			f.Done(part, s)
		})},
		{"activations are those of another image", "FactorsMultiplyToTheSumsOfShards", withFactors(func(f *device.Factors, part int, s device.ShardImages) {
			if a, _ := f.Room(part, s); s.Images > 1 {
				n := len(a) / s.Images
				copy(a[:n], a[n:2*n])
			}
			f.Done(part, s)
		})},
		{"a shard is left out", "FactorsMultiplyToTheSumsOfShards", withFactors(func(f *device.Factors, part int, s device.ShardImages) {
			if s.Images > 1 {
				f.Done(part, s)
			}
		})},
		{"what is handed out is reported too", "FactorsMultiplyToTheSumsOfShards", &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
			tallies, err := p.Plan.Gradient(b, ready)
			if b.Factors != nil {
				ready(0, b.Factors.Parts[0])
			}
			return tallies, err
		}}},
		{"later parameters are not taken up", "LoadedParametersTakeEffect", &faulty{loaded: func(p *faultyPlan, r params.Range) {
			if p.calls == 0 {
				copy(r.Of(p.Plan.Parameters()), r.Of(p.host))
			}
		}}},
		{"another vector of parameters is copied", "VectorsOfTheCallerServe", &faulty{use: func(p *faultyPlan, v []float32) {
			copy(p.Plan.Parameters(), v)
			p.Plan.Loaded(params.Range{First: 0, End: len(v)})
		}}},
		{"another vector of parameters is not seen to differ", "VectorsOfTheCallerServe", &faulty{use: func(p *faultyPlan, v []float32) {
			if p.calls == 0 {
				p.Plan.UseParameters(v)
			}
		}}},
		{"parameters are read before they are awaited", "ParametersMayComeDuringForward", &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
			c := *b
			c.Await = nil
			tallies, err := p.Plan.Gradient(&c, ready)
			if err == nil && b.Await != nil {
				err = b.Await(params.Range{First: 0, End: len(p.Parameters())})
			}
			return tallies, err
		}}},
		{"what does not come is done without", "ParametersMayComeDuringForward", &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
			c := *b
			if b.Await != nil {
				c.Await = func(r params.Range) error { _ = b.Await(r); return nil }
			}
			return p.Plan.Gradient(&c, ready)
		}}},
		{"parameters are written to", "VectorsOfTheCallerServe", after(func(p *faultyPlan, _ *device.Batch, _ []device.Tally) {
			nudge(&p.Parameters()[3])
		})},
		{"evaluating draws dropout", "TestingFormDrawsNothing", &faulty{evaluate: func(p *faultyPlan, b *device.Batch) ([]device.Tally, error) {
			c := *b
			if c.Index == nil {
				c.Index = make([]uint32, images(b))
			}
			return p.Plan.Gradient(&c, nil)
		}}},
		{"plans want nodes", "EvaluatingPlanNeedsNoNodes", &faulty{compile: func(d device.Device, g *device.Graph, o device.Options) (device.Plan, error) {
			if o.Nodes == 0 {
				return nil, errors.New("no nodes")
			}
			return d.Compile(g, o)
		}}},
		{"taps outside get some gradient", "TapsOutsideImagesHaveZeroGradient", after(func(p *faultyPlan, _ *device.Batch, _ []device.Tally) {
			p.Sum(0)[8] = 1e-30
		})},
		{"losses have an upper end", "LargeLogitsGiveFiniteLoss", &faulty{evaluate: func(p *faultyPlan, b *device.Batch) ([]device.Tally, error) {
			tallies, err := p.Plan.Evaluate(b)
			tallies[0].Loss = min(tallies[0].Loss, 2)
			return tallies, err
		}}},
		{"a NaN becomes 0", "NaNIsNotLost", after(func(p *faultyPlan, b *device.Batch, _ []device.Tally) {
			for i := range b.Nodes {
				for j, v := range p.Sum(i) {
					if v != v {
						p.Sum(i)[j] = 0
					}
				}
			}
		})},
		{"of equal logits the last is predicted", "PredictedClassesAreThoseTop1Counts", &faulty{evaluate: func(p *faultyPlan, b *device.Batch) ([]device.Tally, error) {
			tallies, err := p.Plan.Evaluate(b)
			if len(b.Predicted) > 3 {
				b.Predicted[3] = 3
			}
			return tallies, err
		}}},
		{"logits are shifted", "LogitsAreTheNetworksOutputs", &faulty{predict: func(p *faultyPlan, out []float32, b *device.Batch) error {
			err := p.Plan.Predict(out, b)
			for i := range b.Logits {
				b.Logits[i]++
			}
			return err
		}}},
		{"equal logits count for the label", "RanksCountEqualLogitsInOrder", &faulty{evaluate: func(p *faultyPlan, b *device.Batch) ([]device.Tally, error) {
			tallies, err := p.Plan.Evaluate(b)
			if b.Images[b.Labels[0]] == 0 {
				tallies[0].Top5 = 1
			}
			return tallies, err
		}}},
		{"the last of equals gets the gradient", "EqualValuesSendGradientToFirst", after(func(p *faultyPlan, b *device.Batch, _ []device.Tally) {
			p.Sum(0)[0] = 0.5 * (1*1e4 + 2*1e5 + 4*1e6 + 8*1e6)
		})},
		{"unsound graphs are taken", "UnsoundGraphsAreErrors", &faulty{compile: func(d device.Device, g *device.Graph, o device.Options) (device.Plan, error) {
			p, err := d.Compile(g, o)
			if err != nil && strings.Contains(err.Error(), "stride") {
				return nil, nil
			}
			return p, err
		}}},
		{"unsound batches are nothing", "UnsoundBatchesAreErrors", &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
			tallies, err := p.Plan.Gradient(b, ready)
			if err != nil && strings.Contains(err.Error(), "label") {
				return nil, nil
			}
			return tallies, err
		}}},
		{"errors are those of the runtime", "UnsoundBatchesAreErrors", &faulty{evaluate: func(p *faultyPlan, b *device.Batch) ([]device.Tally, error) {
			tallies, err := p.Plan.Evaluate(b)
			if err != nil {
				err = errors.New("runtime error: index out of range [7] with length 6")
			}
			return tallies, err
		}}},
		{"a step allocates", "StepAllocatesNothing", after(func(_ *faultyPlan, b *device.Batch, _ []device.Tally) {
			kept = make([]byte, 100+images(b))
		})},
	} {
		t.Run(tc.defect, func(t *testing.T) {
			beneath, err := cpu.New(2)
			if err != nil {
				t.Fatal(err)
			}
			defer beneath.Close()
			tc.device.Device = beneath
			for _, c := range checks() {
				if c.name != tc.check {
					continue
				}
				if err := c.run(tc.device); err == nil {
					t.Errorf("%s passes", c.name)
				}
				return
			}
			t.Errorf("there is no check %s", tc.check)
		})
	}
	_ = kept
}
