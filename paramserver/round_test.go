package paramserver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/muster-train/muster/model/params"
)

func node(first, end int) params.Node { return params.Node{First: first, End: end} }

func ones(n int) []int {
	images := make([]int, n)
	for i := range images {
		images[i] = 1
	}
	return images
}

// A script: offers to one chunk of step 5, and what becomes of each.
func TestOffers(t *testing.T) {
	type offer struct {
		step    params.Step
		node    params.Node
		verdict Verdict
		done    bool
	}
	for name, tc := range map[string]struct {
		images []int
		offers []offer
	}{
		"one shard": {ones(1), []offer{{5, node(0, 1), Counted, true}, {5, node(0, 1), Repeated, false}}},
		"push twice counts once": {ones(2), []offer{
			{5, node(0, 1), Counted, false}, {5, node(0, 1), Repeated, false}, {5, node(1, 2), Counted, true}, {5, node(1, 2), Repeated, false},
		}},
		"old, new and unknown": {ones(2), []offer{
			{4, node(0, 1), Stale, false}, {6, node(0, 1), Future, false}, {5, node(1, 3), Malformed, false}, {5, node(0, 4), Malformed, false}, {5, node(0, 2), Counted, true},
		}},
		"a part after the whole": {ones(4), []offer{{5, node(0, 2), Counted, false}, {5, node(1, 2), Repeated, false}, {5, node(2, 4), Counted, true}}},
		"the whole after a part": {ones(4), []offer{{5, node(1, 2), Counted, false}, {5, node(0, 2), Counted, false}, {5, node(0, 1), Repeated, false}, {5, node(2, 4), Counted, true}}},
		"the root after parts":   {ones(4), []offer{{5, node(1, 2), Counted, false}, {5, node(3, 4), Counted, false}, {5, node(0, 4), Counted, true}}},
		"shards without images":  {[]int{1, 0, 0, 0, 1}, []offer{{5, node(1, 2), Repeated, false}, {5, node(0, 1), Counted, false}, {5, node(0, 2), Repeated, false}, {5, node(4, 5), Counted, true}}},
		"only one has images":    {[]int{0, 0, 1}, []offer{{5, node(2, 3), Counted, true}}},
	} {
		r := NewRound(5, tc.images, 1)
		for i, o := range tc.offers {
			got := r.Offer(o.step, o.node, 0)
			if got.Verdict != o.verdict || got.Complete != o.done {
				t.Errorf("%s: offer %d of %v at %d: verdict %v, complete %v; want %v, %v", name, i, o.node, o.step, got.Verdict, got.Complete, o.verdict, o.done)
			}
		}
		if r.unfinished != 0 {
			t.Errorf("%s: chunk is not complete at the end", name)
		}
	}
}

func TestChunksAreSeparate(t *testing.T) {
	r := NewRound(0, ones(1), 2)
	r.OfferTally(0, Tally{Shard: 0, Images: 1})
	if !r.Offer(0, node(0, 1), 1).Complete || r.Complete() {
		t.Error("a chunk completed the round")
	}
	if got := r.Offer(0, node(0, 1), 2).Verdict; got != Malformed {
		t.Errorf("chunk 2 of 2: %v, want Malformed", got)
	}
	if !r.Offer(0, node(0, 1), 0).Complete || !r.Complete() {
		t.Error("all chunks did not complete the round")
	}
}

func TestTallies(t *testing.T) {
	r := NewRound(3, []int{2, 0, 4}, 0)
	for i, tc := range []struct {
		step params.Step
		t    Tally
		want Verdict
	}{
		{2, Tally{Shard: 0, Images: 2}, Stale},
		{4, Tally{Shard: 0, Images: 2}, Future},
		{3, Tally{Shard: 3, Images: 2}, Malformed},
		{3, Tally{Shard: -1, Images: 2}, Malformed},
		{3, Tally{Shard: 0, Images: 3}, Malformed},
		{3, Tally{Shard: 0, Images: 2, Loss: 1.5, Top1: 1, Top5: 2}, Counted},
		{3, Tally{Shard: 0, Images: 2, Loss: 1.5, Top1: 1, Top5: 2}, Repeated},
		{3, Tally{Shard: 1, Images: 0}, Repeated},
		{3, Tally{Shard: 2, Images: 4, Loss: 2, Top1: 3, Top5: 4}, Counted},
	} {
		if got := r.OfferTally(tc.step, tc.t); got != tc.want {
			t.Errorf("tally %d: %v, want %v", i, got, tc.want)
		}
	}
	if want := (Tally{Images: 6, Loss: 3.5, Top1: 4, Top5: 6}); r.Sum() != want || !r.Complete() {
		t.Errorf("sum %+v, complete %v; want %+v, true", r.Sum(), r.Complete(), want)
	}
}

func TestAShardIsAwaitedUntilAllOfItHasCounted(t *testing.T) {
	r := NewRound(0, []int{1, 1, 1, 0}, 2)
	awaited := func(when string, want ...int) {
		t.Helper()
		var got []int
		for shard := range 4 {
			if r.Awaits(shard) {
				got = append(got, shard)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s shards %v are awaited, want %v", when, got, want)
		}
	}
	awaited("at first", 0, 1, 2)
	for shard := range 3 {
		r.OfferTally(0, Tally{Shard: shard, Images: 1})
	}
	awaited("with all tallies", 0, 1, 2)
	r.Offer(0, node(0, 2), 0)
	r.Offer(0, node(0, 1), 1)
	awaited("with chunk 0 of two and chunk 1 of one", 1, 2)
	r.Offer(0, node(2, 3), 0)
	awaited("with chunk 0 complete", 1, 2)
	r.Offer(0, node(1, 2), 1)
	awaited("with what was missing of shard 1", 2)
	r.Offer(0, node(2, 3), 1)
	awaited("at the end")

	r = NewRound(0, []int{2, 1}, 0)
	r.OfferTally(0, Tally{Shard: 1, Images: 1})
	if !r.Awaits(0) || r.Awaits(1) {
		t.Error("in an evaluation the tallies alone are awaited")
	}
}

func TestRefusalsAreCountedByName(t *testing.T) {
	r := NewRound(0, ones(2), 2)
	for i, want := range []int{1, 2} {
		if got := r.Refuse(node(0, 1), 0); got != want {
			t.Errorf("refusal %d counted as %d", i, got)
		}
	}
	if got := r.Refuse(node(0, 1), 1); got != 1 {
		t.Errorf("another chunk counted as %d, want 1", got)
	}
}

// reference adds leaves along the tree by definition.
func reference(d params.Node, leaf []float32, images []int) (sum float32, any bool) {
	if d.Len() == 1 {
		return leaf[d.First], images[d.First] > 0
	}
	l, r := d.Halves()
	a, okA := reference(l, leaf, images)
	b, okB := reference(r, leaf, images)
	switch {
	case okA && okB:
		return a + b, true
	case okA:
		return a, true
	}
	return b, okB
}

// Whatever nodes are offered, in whatever order, with whatever repeats and
// overlaps, the sum has the bits of the tree, each shard counts once, and every
// slot is freed.
func TestRandomOffersGiveTheTreesBits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for trial := range 3000 {
		n := 1 + rng.IntN(9)
		images, leaf := make([]int, n), make([]float32, n)
		for s := range n {
			images[s] = rng.IntN(4)
			leaf[s] = float32(rng.NormFloat64())
		}
		images[rng.IntN(n)] = 1
		want, _ := reference(params.Root(n), leaf, images)

		var nodes []params.Node
		var walk func(d params.Node)
		walk = func(d params.Node) {
			nodes = append(nodes, d)
			if d.Len() > 1 {
				l, r := d.Halves()
				walk(l)
				walk(r)
			}
		}
		walk(params.Root(n))

		r := NewRound(0, images, 1)
		slots := map[int]float32{}
		var got float32
		complete := false
		for i := 0; !complete; i++ {
			if i > 1000 {
				t.Fatalf("trial %d: not complete after %d offers", trial, i)
			}
			// Leaves more often than large nodes, so that overlaps happen.
			d := nodes[max(rng.IntN(len(nodes)), rng.IntN(len(nodes)))]
			value, some := reference(d, leaf, images)
			o := r.Offer(0, d, 0)
			if !some && o.Verdict != Repeated {
				t.Fatalf("trial %d: empty node %v: %v", trial, d, o.Verdict)
			}
			if o.Verdict != Counted {
				continue
			}
			for _, s := range o.Drop {
				if _, ok := slots[s]; !ok {
					t.Fatalf("trial %d: slot %d dropped but empty", trial, s)
				}
				delete(slots, s)
			}
			for _, s := range o.Add {
				v, ok := slots[s]
				if !ok {
					t.Fatalf("trial %d: slot %d added but empty", trial, s)
				}
				value += v
				delete(slots, s)
			}
			if complete = o.Complete; complete {
				got = value
			} else {
				if _, taken := slots[o.Slot]; taken {
					t.Fatalf("trial %d: slot %d given out twice", trial, o.Slot)
				}
				slots[o.Slot] = value
			}
		}
		if got != want || len(slots) != 0 {
			t.Fatalf("trial %d: n=%d images=%v: sum %v, want %v; %d slots left", trial, n, images, got, want, len(slots))
		}
	}
}

func ExampleRound() {
	r := NewRound(0, []int{16, 16, 16}, 1)
	for _, d := range []params.Node{node(2, 3), node(1, 2), node(0, 1)} {
		o := r.Offer(0, d, 0)
		fmt.Println(d, "adds", slices.Clone(o.Add), "complete", o.Complete)
	}
	// Output:
	// 2 adds [] complete false
	// 1 adds [] complete false
	// 0 adds [1 0] complete true
}
