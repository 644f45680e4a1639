package cpu_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
)

// batchOf returns a batch of random images for some shards, summed to the root.
func batchOf(n *model.Network, counts []int) *device.Batch {
	b := &device.Batch{Seed: 3, Step: 4, Nodes: []params.Node{params.Root(len(counts))}}
	s := philox.New(1, philox.Synthetic, 0, 0)
	for shard, count := range counts {
		b.Shards = append(b.Shards, device.ShardImages{Shard: shard, Images: count})
		for range count {
			for range n.Graph.Input.Values() {
				b.Images = append(b.Images, s.Float32())
			}
			b.Index = append(b.Index, uint32(len(b.Labels)))
			b.Labels = append(b.Labels, int32(s.IntN(n.Classes)))
		}
	}
	return b
}

// gradientOf returns the gradient and tallies of one batch on a new device.
func gradientOf(t *testing.T, n *model.Network, b *device.Batch, threads int) ([]float32, []device.Tally) {
	t.Helper()
	d, err := cpu.New(threads)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	p, err := d.Compile(n.Graph, device.Options{Images: len(b.Labels), Nodes: len(b.Nodes)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	n.Initialise(p.Parameters(), 1)
	p.Loaded(params.Range{First: 0, End: n.Graph.Parameters})
	tallies, err := p.Gradient(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(p.Sum(0)), slices.Clone(tallies)
}

// TestThreadsAndKernelsGiveSameBits runs a whole small network. Of the shards
// some have a multiple of four images in a lane block, as some kernels take them.
func TestThreadsAndKernelsGiveSameBits(t *testing.T) {
	n, err := model.New("lenet5", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b := batchOf(n, []int{3, 1, 0, 2, 8, 4})
	want, tallies := gradientOf(t, n, b, 1)
	defer kernel.Select("")
	for _, name := range kernel.Names() {
		if err := kernel.Select(name); err != nil {
			t.Fatal(err)
		}
		for _, threads := range []int{1, 2, 3, 7} {
			got, gotTallies := gradientOf(t, n, b, threads)
			what := fmt.Sprintf("%s kernels, %d threads", name, threads)
			if a, b := params.Hash(got), params.Hash(want); a != b {
				t.Errorf("%s: gradient %s, want %s", what, a, b)
			}
			if !slices.Equal(gotTallies, tallies) {
				t.Errorf("%s: tallies %v, want %v", what, gotTallies, tallies)
			}
		}
	}
}
