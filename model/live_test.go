package model_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
)

// TestLiveValuesAreThoseWithAGradient compares what layouts say with gradients:
// +0 where a tap meets padding alone, and at every other tap of a kernel a
// gradient, of some map at least.
func TestLiveValuesAreThoseWithAGradient(t *testing.T) {
	for _, tc := range []struct {
		network string
		options model.Options
		zeros   int // values whose gradient is known to be zero
	}{
		{"lenet5", model.Options{}, 0},
		{"simple-cnn", model.Options{}, 0},
		// Of conv3 to conv5 the centre tap alone: 8 of 9 values of 256x384, 384x384 and 384x256.
		{"alexnet", model.Options{}, 8 * (256*384 + 384*384 + 384*256)},
		{"alexnet-lrn", model.Options{}, 8 * (256*384 + 384*384 + 384*256)},
	} {
		t.Run(tc.network, func(t *testing.T) {
			n, err := model.New(tc.network, tc.options)
			if err != nil {
				t.Fatal(err)
			}
			live := 0
			for chunk := range n.Layout.Chunks() {
				live += n.Layout.Live(chunk)
			}
			if got := n.Layout.Size() - live; got != tc.zeros {
				t.Errorf("%d values are known to be zero, want %d", got, tc.zeros)
			}
			if testing.Short() && n.Layout.Size() > largeNetwork {
				t.Skip("its gradient takes long")
			}
			g := someGradient(t, n)
			for _, tensor := range n.Layout.Tensors() {
				if len(tensor.Zero) > 0 {
					checkTaps(t, tensor, tensor.Range.Of(g))
				}
			}
		})
	}
}

func checkTaps(t *testing.T, tensor params.Tensor, g []float32) {
	t.Helper()
	has := make([]bool, len(tensor.Zero))
	for i, x := range g {
		if math.Float32bits(x) != 0 {
			has[i%len(has)] = true
		}
	}
	for tap, zero := range tensor.Zero {
		if has[tap] == zero {
			t.Errorf("%s, tap %d: known to be zero: %v, has a gradient: %v", tensor.Name, tap, zero, has[tap])
		}
	}
	if !slices.Contains(tensor.Zero, true) {
		t.Errorf("%s: a pattern without zeros", tensor.Name)
	}
}

// someGradient returns that of random parameters and images.
func someGradient(t *testing.T, n *model.Network) []float32 {
	t.Helper()
	d, err := cpu.New(2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	const images = 2
	plan, err := n.Plan(d, device.Options{Images: images, Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { plan.Close() })
	n.Initialise(plan.Parameters(), 1)
	plan.Loaded(params.Range{End: n.Layout.Size()})
	r := rand.New(rand.NewPCG(1, 2))
	b := &device.Batch{
		Images: make([]float32, images*n.Input.Values()), Labels: make([]int32, images), Index: []uint32{0, 1},
		Shards: []device.ShardImages{{Shard: 0, Images: images}}, Nodes: []params.Node{params.Leaf(0)},
	}
	for i := range b.Images {
		b.Images[i] = r.Float32()
	}
	if _, err := plan.Gradient(b, nil); err != nil {
		t.Fatal(err)
	}
	return plan.Sum(0)
}
