package cpu

import (
	"math/bits"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// span is the images [first, end) of a batch that belong to a shard; it has some.
type span struct{ shard, first, end int }

// What a node is, a leaf or the sum of two, is said in three places: endLeaf and
// addNode here, and kernel.ChainTree, which does both in registers.

// sums says how the gradients of a batch's nodes come about: for each node a
// program for a stack, made once a batch and run for each piece of each layer's
// gradient.
type sums struct {
	spans []span
	steps []int // number of a span: push its sum; addTop: replace the two on top by their sum
	ends  []int // of each node's steps
}

const addTop = -1

// stackDepth returns the most sums that lie on the stack for batches of that
// many images: no more than they have shards, nor than a tree is high.
func stackDepth(images int) int { return min(images, bits.UintSize) }

func newSums(o device.Options) sums {
	return sums{
		spans: make([]span, 0, o.Images),
		steps: make([]int, 0, 2*o.Images),
		ends:  make([]int, 0, o.Nodes),
	}
}

// plan writes the programs of a batch.
func (t *sums) plan(b *device.Batch) {
	t.spans, t.steps, t.ends = t.spans[:0], t.steps[:0], t.ends[:0]
	first := 0
	for _, s := range b.Shards {
		if s.Images > 0 {
			t.spans = append(t.spans, span{s.Shard, first, first + s.Images})
			first += s.Images
		}
	}
	for _, n := range b.Nodes {
		t.add(n, t.within(n, 0, len(t.spans)))
		t.ends = append(t.ends, len(t.steps))
	}
}

// within narrows the spans [lo, hi) to those of n's shards.
func (t *sums) within(n params.Node, lo, hi int) params.Range {
	for lo < hi && t.spans[lo].shard < n.First {
		lo++
	}
	for lo < hi && t.spans[hi-1].shard >= n.End {
		hi--
	}
	return params.Range{First: lo, End: hi}
}

// add writes the steps that leave the sum over n's spans on the stack, or none
// where it has no spans. Halves without images are passed over.
func (t *sums) add(n params.Node, spans params.Range) {
	switch spans.Len() {
	case 0:
	case 1:
		t.steps = append(t.steps, spans.First)
	default:
		left, right := n.Halves()
		l, r := t.within(left, spans.First, spans.End), t.within(right, spans.First, spans.End)
		t.add(left, l)
		t.add(right, r)
		if l.Len() > 0 && r.Len() > 0 {
			t.steps = append(t.steps, addTop)
		}
	}
}

// endLeaf makes a leaf of what one shard's gradient has come to.
func (p *plan) endLeaf(sum []float32) {
	if p.rounds() {
		kernel.Round(sum, sum)
	}
}

// addNode makes of left the node whose halves are left and right.
func (p *plan) addNode(left, right []float32) {
	if p.rounds() {
		kernel.AddRound(left, left, right)
		return
	}
	kernel.Add(left, left, right)
}

// program returns the steps of node i.
func (t *sums) program(i int) []int {
	if i == 0 {
		return t.steps[:t.ends[0]]
	}
	return t.steps[t.ends[i-1]:t.ends[i]]
}
