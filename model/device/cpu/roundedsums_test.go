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

// allWays is a network whose layers form sums over shards in all the ways there
// are: in stripes, in runs or shard by shard, as trees of one call whose columns
// lie apart and whose columns follow each other.
func allWays() *model.Network {
	g := &device.Graph{Input: device.Shape{C: 3, H: 8, W: 8}, Classes: 10}
	shape := g.Input
	place := func(out device.Shape) device.Place {
		p := device.Place{Name: fmt.Sprint("layer", len(g.Ops)), In: shape, Out: out}
		shape = out
		return p
	}
	take := func(n int) params.Range {
		r := params.Range{First: g.Parameters, End: g.Parameters + n}
		g.Parameters += n
		return r
	}
	conv := func(k int) {
		n := k * shape.C * 9
		p := place(device.Shape{C: k, H: shape.H, W: shape.W})
		op := &device.Conv{Place: p, Kernel: 3, Stride: 1, PadTop: 1, PadLeft: 1, Groups: 1, SkipInputGradient: len(g.Ops) == 0}
		op.Weight, op.Bias = take(n), take(k)
		g.Ops = append(g.Ops, op)
	}
	dense := func(k int) {
		n := k * shape.Values()
		op := &device.Dense{Place: place(device.Shape{C: k, H: 1, W: 1})}
		op.Weight, op.Bias = take(n), take(k)
		g.Ops = append(g.Ops, op)
	}
	conv(18)
	g.Ops = append(g.Ops, &device.Activation{Place: place(shape)})
	conv(20)
	g.Ops = append(g.Ops, &device.Pool{Place: place(device.Shape{C: 20, H: 2, W: 2}), Kernel: 4, Stride: 4})
	conv(17)
	dense(33)
	dense(10)
	return &model.Network{Name: "all ways", Graph: g, Classes: g.Classes}
}

// nodesOf returns the nodes of a batch that h computes: j's gradients at a step of
// none but some shards.
func nodesOf(t *testing.T, j job, h how, first, shards int, nodes []params.Node) [][]float32 {
	t.Helper()
	if err := kernel.Select(h.kernels); err != nil {
		t.Fatal(err)
	}
	d, err := cpu.New(h.threads)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	b := batchOfShards(j, 2, first, shards)
	b.Nodes = nodes
	p, err := d.Compile(j.network.Graph, device.Options{Images: max(1, len(b.Labels)), Nodes: len(nodes), Precision: j.precision, Sums: j.sums})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	r := philox.New(1, philox.Synthetic, 7, 7)
	for i := range p.Parameters() {
		p.Parameters()[i] = 0.3 * (r.Float32() - 0.5)
	}
	p.Loaded(params.Range{First: 0, End: len(p.Parameters())})
	if _, err := p.Gradient(b, nil); err != nil {
		t.Fatal(err)
	}
	var sums [][]float32
	for i := range nodes {
		sums = append(sums, slices.Clone(p.Sum(i)))
	}
	return sums
}

// fold adds the gradients of shards along the tree, and rounds leaves and sums of
// two as it is told; nil for no images.
func fold(n params.Node, shards [][]float32, leaf, inner func([]float32)) []float32 {
	if n.Len() == 1 {
		sum := slices.Clone(shards[n.First])
		leaf(sum)
		return sum
	}
	left, right := n.Halves()
	l, r := fold(left, shards, leaf, inner), fold(right, shards, leaf, inner)
	if l == nil || r == nil {
		return append(l, r...)
	}
	for i := range l {
		l[i] += r[i]
	}
	inner(l)
	return l
}

// asSent is what becomes of a gradient that is sent as bfloat16.
func asSent(x []float32) {
	sent := make([]uint16, len(x))
	kernel.ToBfloat16(sent, x)
	kernel.FromBfloat16(x, sent)
}

func asItIs([]float32) {}

// TestRoundedSumsAreThoseOfLeavesSentAlone compares every node of a plan whose sums
// are rounded with the leaves of workers that own one shard each, which are sent as
// bfloat16s and of whose sums the same becomes.
func TestRoundedSumsAreThoseOfLeavesSentAlone(t *testing.T) {
	defer kernel.Select("")
	lenet, err := model.New("lenet5", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	networks := []*model.Network{allWays()}
	if !testing.Short() {
		networks = append(networks, lenet)
	}
	for _, network := range networks {
		for _, precision := range []device.Precision{device.F32, device.BF16} {
			for _, counts := range [][]int{
				{3},
				{3, 17}, // a shard of more than a lane block
				{4, 0, 5},
				{1, 2, 0, 3, 1},
				{2, 1, 0, 3, 1, 0, 4, 5},
				{0, 0, 0, 2, 0, 0, 0, 0},
			} {
				j := job{network: network, counts: counts, precision: precision}
				t.Run(fmt.Sprintf("%s %v, shards of %v", network.Name, precision, counts), func(t *testing.T) {
					checkRounded(t, j)
				})
			}
		}
	}
}

func checkRounded(t *testing.T, j job) {
	root := params.Root(len(j.counts))
	shards := make([][]float32, len(j.counts)) // nil: without images
	for s, n := range j.counts {
		if n > 0 {
			shards[s] = nodesOf(t, j, how{"", 1, 1}, s, 1, []params.Node{params.Leaf(s)})[0]
		}
	}
	nodes := []params.Node{root}
	for i := 0; i < len(nodes); i++ {
		if nodes[i].Len() > 1 {
			left, right := nodes[i].Halves()
			nodes = append(nodes, left, right)
		}
	}
	var want [][]float32
	for _, n := range nodes {
		sum := fold(n, shards, asSent, asSent)
		if sum == nil {
			sum = make([]float32, j.network.Graph.Parameters)
		}
		want = append(want, sum)
	}
	// Where there is something to round, leaving it out must show.
	some := len(slices.DeleteFunc(slices.Clone(j.counts), func(n int) bool { return n == 0 }))
	for _, without := range []struct {
		what        string
		leaf, inner func([]float32)
		tells       bool
	}{{"leaves", asItIs, asSent, true}, {"sums of two", asSent, asItIs, some > 1}} {
		if got := fold(root, shards, without.leaf, without.inner); without.tells && params.Hash(got) == params.Hash(want[0]) {
			t.Errorf("rounding %s changes nothing: the case does not tell", without.what)
		}
	}
	j.sums = device.BF16
	for _, kernels := range kernel.Names() {
		for threads := 1; threads <= 3; threads++ {
			h := how{kernels, threads, len(j.counts)}
			for i, got := range nodesOf(t, j, h, 0, len(j.counts), nodes) {
				if a, b := params.Hash(got), params.Hash(want[i]); a != b {
					t.Fatalf("%v: the sum of shards %v is %s, want %s", h, nodes[i], a, b)
				}
			}
		}
	}
}
