package worker

import (
	"slices"
	"testing"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// reference computes what the contributions of testSet's shards must be: each
// shard by itself, in a plan that holds one shard.
type reference struct {
	t      *testing.T
	job    *musterv1.JobSpec
	net    *model.Network
	cut    dataset.Cut
	loader *dataset.Loader
	plan   device.Plan
	rounds bool            // sums and parameters are bfloat16s
	leaves map[place]*leaf // computed so far
}

type place struct {
	shard int
	step  uint64
}

type leaf struct {
	gradient []float32
	tally    device.Tally
}

func newReference(t *testing.T, job *musterv1.JobSpec) *reference {
	t.Helper()
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	r := &reference{t: t, job: job, net: networkOf(t, job), cut: dataset.Cut{Images: testSet().Train.Len(), Shards: int(job.Shards), Batch: int(job.Batch)}, leaves: map[place]*leaf{}, rounds: job.Encoding == "bf16"}
	r.loader = newLoader(t, r.net, job, r.cut)
	o := device.Options{Images: int(job.Batch / job.Shards), Nodes: 1}
	if r.rounds {
		o.Sums = device.BF16
	}
	if r.plan, err = r.net.Plan(d, o); err != nil {
		t.Fatal(err)
	}
	return r
}

func newLoader(t *testing.T, net *model.Network, job *musterv1.JobSpec, cut dataset.Cut) *dataset.Loader {
	t.Helper()
	augment, err := dataset.ParseAugment(job.Augment)
	if err != nil {
		t.Fatal(err)
	}
	p := net.Preprocess
	return dataset.NewLoader(testSet(), cut, dataset.Transform{Side: p.Side, Mean: p.Mean, Std: p.Std, Augment: augment}, job.Seed)
}

// at is a shard's gradient and tally at a step, nil where it has no images.
func (r *reference) at(shard int, step uint64) *leaf {
	r.t.Helper()
	known, ok := r.leaves[place{shard, step}]
	if !ok {
		known = r.compute(shard, step)
		r.leaves[place{shard, step}] = known
	}
	return known
}

func (r *reference) compute(shard int, step uint64) *leaf {
	r.t.Helper()
	position := dataset.Position{Epoch: int(step / 3), Batch: int(step % 3)}
	if r.cut.Count(shard, position.Batch) == 0 {
		return nil
	}
	copy(r.plan.Parameters(), vector(r.net, step))
	if e := r.job.Encoding; e == "bf16" || e == "int8" {
		kernel.Round(r.plan.Parameters(), r.plan.Parameters())
	}
	r.plan.Loaded(params.Range{First: 0, End: r.net.Layout.Size()})
	b, err := r.loader.Train(r.t.Context(), position, []int{shard})
	if err != nil {
		r.t.Fatal(err)
	}
	tallies, err := r.plan.Gradient(&device.Batch{
		Seed: r.job.Seed, Step: params.Step(step), Images: b.Images, Labels: b.Labels, Index: b.Index,
		Shards: []device.ShardImages{{Shard: shard, Images: b.Counts[0]}}, Nodes: []params.Node{params.Leaf(shard)},
	}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return &leaf{slices.Clone(r.plan.Sum(0)), tallies[0]}
}

// sum is the sum of the leaves of a node along the tree, nil where all are empty.
func (r *reference) sum(d params.Node, step uint64) []float32 {
	r.t.Helper()
	if d.Len() == 1 {
		if l := r.at(d.First, step); l != nil {
			return slices.Clone(l.gradient)
		}
		return nil
	}
	left, right := d.Halves()
	a, b := r.sum(left, step), r.sum(right, step)
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	for i := range a {
		a[i] += b[i]
	}
	if r.rounds {
		kernel.Round(a, a)
	}
	return a
}

// check compares a contribution with what the shards must give.
func (r *reference) check(c contribution, step uint64, shards []int) {
	r.t.Helper()
	var have []int
	for _, s := range shards {
		if r.cut.Count(s, int(step%3)) > 0 {
			have = append(have, s)
		}
	}
	if got := c.shards(); !slices.Equal(got, have) {
		r.t.Errorf("step %d, shards %v: tallies of %v were sent, want %v", step, shards, got, have)
	}
	for _, got := range c.tallies {
		want := r.at(int(got.Shard), step)
		if want == nil || !sameTally(got, want.tally) {
			r.t.Errorf("step %d: tally %v, want %+v", step, got, want)
		}
	}
	var nodes []params.Node
	for _, d := range params.Cover(shards, int(r.job.Shards)) {
		if want := r.sum(d, step); want != nil {
			nodes = append(nodes, d)
			if i := slices.Index(c.nodes, d); i >= 0 && !sameBits(c.sums[i], want) {
				r.t.Errorf("step %d, node %v: the sum is not that of the leaves along the tree", step, d)
			}
		}
	}
	if !slices.Equal(c.nodes, nodes) {
		r.t.Errorf("step %d, shards %v: nodes %v were sent, want %v", step, shards, c.nodes, nodes)
	}
}

func sameTally(got *musterv1.Tally, want device.Tally) bool {
	return want == device.Tally{Shard: int(got.Shard), Images: int(got.Images), Loss: got.Loss, Top1: int(got.Top1), Top5: int(got.Top5)}
}
