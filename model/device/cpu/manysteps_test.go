package cpu_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
)

// jobShards is the number of shards of the jobs below.
const jobShards = 8

// job is a few steps of training, whoever computes them.
type job struct {
	network *model.Network
	counts  []int // images of each shard in a batch
	steps   int

	precision, sums device.Precision
}

// how says who computes: kernels, threads, and how many shards each worker owns.
type how struct {
	kernels         string
	threads, shards int
}

func (h how) String() string {
	return fmt.Sprintf("%s kernels, %d threads, %d shards a worker", h.kernels, h.threads, h.shards)
}

// step is what one step leaves: the sum of the gradients, the parameters, the loss.
type step struct {
	gradient, parameters string
	loss                 float64
}

// train trains j as h says and returns what each step leaves. Workers run one
// after the other; their sums are added along the tree, as the server does.
func train(t *testing.T, j job, h how) []step {
	t.Helper()
	if err := kernel.Select(h.kernels); err != nil {
		t.Fatal(err)
	}
	d, err := cpu.New(h.threads)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	all := params.Range{First: 0, End: j.network.Graph.Parameters}
	workers := jobShards / h.shards
	images := 0
	for _, n := range j.counts {
		images += n
	}
	p, err := d.Compile(j.network.Graph, device.Options{Images: images, Nodes: 1, Precision: j.precision, Sums: j.sums})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	w := p.Parameters()
	j.network.Initialise(w, 1)
	v := make([]float32, len(w))
	own := make([][]float32, workers)
	for i := range own {
		own[i] = make([]float32, len(w))
	}
	var steps []step
	for s := range j.steps {
		var left step
		p.Loaded(all)
		sums := make([][]float32, workers) // nil: of no images
		for i := range sums {
			tallies, err := p.Gradient(batchOfShards(j, params.Step(s), i*h.shards, h.shards), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, tally := range tallies {
				left.loss += tally.Loss
				if tally.Images > 0 {
					sums[i] = own[i]
				}
			}
			copy(sums[i], p.Sum(0))
		}
		for n := workers; n > 1; n /= 2 {
			for i := range n / 2 {
				sums[i] = j.sum(sums[2*i], sums[2*i+1])
			}
		}
		left.gradient = params.Hash(sums[0])
		kernel.Momentum(w, v, w, v, sums[0], 1/float32(images), 0.01, 0.9, 2e-4, false)
		left.parameters = params.Hash(w)
		steps = append(steps, left)
	}
	return steps
}

// sum adds the right half of a node to the left one, or passes over the one that
// has no images.
func (j job) sum(left, right []float32) []float32 {
	switch {
	case left == nil:
		return right
	case right == nil:
	case j.sums == device.BF16:
		kernel.AddRound(left, left, right)
	default:
		kernel.Add(left, left, right)
	}
	return left
}

// batchOfShards returns the images of some of the job's shards at a step.
func batchOfShards(j job, s params.Step, first, shards int) *device.Batch {
	b := &device.Batch{Seed: 3, Step: s, Nodes: []params.Node{{First: first, End: first + shards}}}
	for shard := first; shard < first+shards; shard++ {
		b.Shards = append(b.Shards, device.ShardImages{Shard: shard, Images: j.counts[shard]})
		for i := range j.counts[shard] {
			r := philox.New(1, philox.Synthetic, uint32(s), uint32(shard*1000+i))
			for range j.network.Graph.Input.Values() {
				b.Images = append(b.Images, r.Float32())
			}
			b.Index = append(b.Index, uint32(shard*1000+i))
			b.Labels = append(b.Labels, int32(r.IntN(j.network.Classes)))
		}
	}
	return b
}

// TestManyStepsGiveSameBits trains every network: with portable kernels once,
// and with every kernel, several threads and workers of 1 to 8 shards, which
// must all leave the same gradients, parameters and losses after each step. With
// MUSTER_STEPS=50 it takes that many steps of the article's batch (hours, of the
// portable kernels' time), otherwise a few of a few images, at small sizes.
func TestManyStepsGiveSameBits(t *testing.T) {
	if testing.Short() {
		t.Skip("trains every network with portable kernels")
	}
	defer kernel.Select("")
	full, err := strconv.Atoi(os.Getenv("MUSTER_STEPS"))
	if err != nil && os.Getenv("MUSTER_STEPS") != "" {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name        string
		size, steps int // of the small run

		precision, sums device.Precision
	}{
		{"lenet5", 0, 50, device.F32, device.F32},
		{"simple-cnn", 0, 10, device.F32, device.F32},
		{"alexnet", 0, 2, device.F32, device.F32},
		{"alexnet-lrn", 0, 2, device.F32, device.F32},
		{"alexnet-cifar", 0, 1, device.F32, device.F32},
		{"alexnet-tf", 63, 1, device.F32, device.F32},
		{"alexnet-2012", 67, 1, device.F32, device.F32},
		{"lenet5", 0, 10, device.BF16, device.F32},
		{"alexnet-lrn", 0, 1, device.BF16, device.F32},
		{"lenet5", 0, 10, device.F32, device.BF16},
		{"alexnet-lrn", 0, 1, device.BF16, device.BF16},
	} {
		t.Run(fmt.Sprintf("%s %v, sums of %v", tc.name, tc.precision, tc.sums), func(t *testing.T) {
			o := model.Options{InputSize: tc.size, Classes: 10}
			// Shards of different sizes, one without images; lanes are shared and crossed.
			j := job{counts: []int{2, 1, 0, 1, 1, 1, 2, 1}, steps: tc.steps, precision: tc.precision, sums: tc.sums}
			if full > 0 {
				o = model.Options{}
				j.counts, j.steps = []int{16, 16, 16, 16, 16, 16, 16, 16}, full
			}
			j.network, err = model.New(tc.name, o)
			if err != nil {
				t.Fatal(err)
			}
			want := train(t, j, how{"portable", 2, jobShards})
			for _, kernels := range kernel.Names()[1:] {
				for _, h := range []how{{kernels, 1, 8}, {kernels, 2, 4}, {kernels, 3, 2}, {kernels, 2, 1}} {
					for i, got := range train(t, j, h) {
						if got != want[i] {
							t.Fatalf("%v: step %d leaves %+v, want %+v", h, i+1, got, want[i])
						}
					}
				}
			}
		})
	}
}
