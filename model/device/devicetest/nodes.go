package devicetest

import (
	"fmt"
	"math"
	"slices"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// treeSum adds the gradients of shards along the tree, in the plainest way, and
// keeps of each leaf and each sum of two what keep returns; nil for no images.
func treeSum(n params.Node, shard map[int][]float32, keep func(float32) float32) []float32 {
	var sum []float32
	if n.Len() == 1 {
		sum = slices.Clone(shard[n.First])
	} else {
		left, right := n.Halves()
		l, r := treeSum(left, shard, keep), treeSum(right, shard, keep)
		if l == nil || r == nil {
			return append(l, r...)
		}
		for i := range l {
			sum = append(sum, l[i]+r[i])
		}
	}
	for i, v := range sum {
		sum[i] = keep(v)
	}
	return sum
}

// keeper returns what treeSum keeps of the sums of a plan: all of them, or bfloat16s.
func keeper(sums device.Precision) func(float32) float32 {
	if sums == device.BF16 {
		return bfloat16
	}
	return func(v float32) float32 { return v }
}

// bfloat16 rounds to the nearest number whose lower 16 bits are 0, of two as near
// to the even one.
func bfloat16(v float32) float32 {
	const half = 1 << 15
	u := math.Float32bits(v)
	low := u % (2 * half)
	u -= low
	switch {
	case v != v:
		return v
	case low > half, low == half && u&(2*half) != 0:
		u += 2 * half
	}
	return math.Float32frombits(u)
}

// compareNodes asks for nodes of a batch of shards and compares each with the tree
// sum of its leaves, which are those of plans that keep all of their sums.
func compareNodes(d device.Device, g *device.Graph, sums device.Precision, shards, counts []int, nodes []params.Node) error {
	total := 0
	leaf := map[int][]float32{}
	for _, s := range shards {
		total += counts[s]
		if counts[s] == 0 {
			continue
		}
		sum, _, err := alone(d, g, s, counts)
		if err != nil {
			return err
		}
		leaf[s] = sum
	}
	p, err := compileFor(d, g, device.Options{Images: max(1, total), Nodes: len(nodes), Sums: sums})
	if err != nil {
		return err
	}
	b := batch(g, shards, counts)
	b.Nodes = nodes
	tallies, err := p.Gradient(b, nil)
	if err != nil {
		return err
	}
	if len(tallies) != len(shards) {
		return fmt.Errorf("%d tallies for %d shards", len(tallies), len(shards))
	}
	for i, s := range shards {
		if t := tallies[i]; t.Shard != s || t.Images != counts[s] {
			return fmt.Errorf("tally %+v of shard %d of %d images", t, s, counts[s])
		}
	}
	for i, n := range nodes {
		want := treeSum(n, leaf, keeper(sums))
		if want == nil {
			want = make([]float32, g.Parameters)
		}
		if err := sameBits(fmt.Sprintf("node %v", n), p.Sum(i), want); err != nil {
			return err
		}
	}
	return p.Close()
}

func nodesAreTreeSums(d device.Device) error { return treeSums(d, device.F32) }

// roundedSums checks the sums of a plan whose nodes are bfloat16s, of shards with
// and without images.
func roundedSums(d device.Device) error {
	if err := treeSums(d, device.BF16); err != nil {
		return err
	}
	return withoutSome(d, device.BF16)
}

func treeSums(d device.Device, sums device.Precision) error {
	counts := []int{4, 1, 3, 7, 2, 5, 1}
	nodes := []params.Node{params.Root(7)}
	for i := 0; i < len(nodes); i++ {
		if nodes[i].Len() > 1 {
			left, right := nodes[i].Halves()
			nodes = append(nodes, left, right)
		}
	}
	if err := compareNodes(d, whole(), sums, []int{0, 1, 2, 3, 4, 5, 6}, counts, nodes); err != nil {
		return err
	}
	held := []int{0, 2, 3, 6}
	return compareNodes(d, whole(), sums, held, counts, params.Cover(held, 7))
}

func emptyShards(d device.Device) error { return withoutSome(d, device.F32) }

func withoutSome(d device.Device, sums device.Precision) error {
	counts := []int{0, 3, 0, 0, 0, 2, 0, 4, 0}
	all := []int{0, 1, 2, 3, 4, 5, 6, 7, 8}
	nodes := []params.Node{
		params.Root(9), {First: 0, End: 8}, {First: 0, End: 4}, {First: 4, End: 8}, {First: 2, End: 4}, {First: 8, End: 9},
	}
	g := from(3, 5, 5).conv(17, 3, 2, 1, 1).relu().conv(6, 3, 1, 1, 1).dense(3).done()
	if err := compareNodes(d, g, sums, all, counts, nodes); err != nil {
		return err
	}
	// Shards without images need not be named, and there may be no others.
	if err := compareNodes(d, g, sums, []int{1, 5, 7}, counts, nodes); err != nil {
		return err
	}
	if err := compareNodes(d, g, sums, []int{0, 2}, counts, nodes[:4]); err != nil {
		return err
	}
	return compareNodes(d, g, sums, nil, counts, nodes[:1])
}

// reports checks that ready names each value of each node once, when it is final.
func reports(d device.Device) error {
	g := whole()
	counts := []int{3, 0, 4}
	nodes := []params.Node{params.Root(3), {First: 0, End: 2}, params.Leaf(1)}
	p, err := compile(d, g, 7, len(nodes))
	if err != nil {
		return err
	}
	b := batch(g, []int{0, 1, 2}, counts)
	b.Nodes = nodes
	for round := range 2 {
		b.Step = params.Step(round) // so that a sum of the call before is not final
		seen := make([][]float32, len(nodes))
		times := make([][]int, len(nodes))
		for i := range nodes {
			seen[i], times[i] = make([]float32, g.Parameters), make([]int, g.Parameters)
		}
		var wrong error
		_, err := p.Gradient(b, func(node int, r params.Range) {
			if node < 0 || node >= len(nodes) || r.First < 0 || r.End > g.Parameters || r.Len() < 1 {
				wrong = fmt.Errorf("node %d, range %v reported: want %d nodes of %d values", node, r, len(nodes), g.Parameters)
				return
			}
			copy(r.Of(seen[node]), r.Of(p.Sum(node)))
			for at := r.First; at < r.End; at++ {
				times[node][at]++
			}
		})
		if err != nil || wrong != nil {
			return fmt.Errorf("gradient: %w, report: %w", err, wrong)
		}
		for i, n := range nodes {
			if at := slices.IndexFunc(times[i], func(n int) bool { return n != 1 }); at >= 0 {
				return fmt.Errorf("value %d of node %v was reported %d times", at, n, times[i][at])
			}
			if err := sameBits(fmt.Sprintf("node %v when reported", n), seen[i], p.Sum(i)); err != nil {
				return err
			}
		}
	}
	return p.Close()
}
