package paramserver

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/muster-train/muster/model/params"
)

// constant is a job all steps of which have the same images.
func constant(images ...int) func(params.Step) []int {
	return func(params.Step) []int { return images }
}

// A script: offers to one chunk, and what becomes of each.
func TestWindowOffers(t *testing.T) {
	type offer struct {
		step    params.Step
		node    params.Node
		verdict Verdict
	}
	for name, tc := range map[string]struct {
		ahead  int
		images []int
		offers []offer
	}{
		"push twice counts once":             {1, ones(2), []offer{{5, node(0, 1), Counted}, {5, node(0, 1), Repeated}, {5, node(1, 2), Counted}, {5, node(0, 2), Repeated}}},
		"old, new and unknown":               {1, ones(2), []offer{{4, node(0, 1), Stale}, {7, node(0, 1), Future}, {6, node(0, 1), Counted}, {5, node(1, 3), Malformed}}},
		"no bound but the end":               {-1, ones(2), []offer{{9, node(0, 1), Counted}, {10, node(0, 1), Future}}},
		"a part after the whole":             {1, ones(4), []offer{{5, node(0, 2), Counted}, {5, node(1, 2), Repeated}}},
		"the whole after a part":             {1, ones(4), []offer{{5, node(1, 2), Counted}, {5, node(0, 2), Mixed}, {5, node(0, 1), Counted}, {5, node(0, 2), Repeated}}},
		"shards without images make no part": {1, []int{1, 0, 1, 0}, []offer{{5, node(1, 2), Repeated}, {5, node(0, 2), Counted}, {5, node(0, 1), Repeated}, {5, node(2, 4), Counted}}},
	} {
		w := NewWindow(5, 10, tc.ahead, len(tc.images), 1, constant(tc.images...))
		for i, o := range tc.offers {
			if got := w.Offer(o.step, o.node, 0); got != o.verdict {
				t.Errorf("%s: offer %d of %v at %d: verdict %v, want %v", name, i, o.node, o.step, got, o.verdict)
			}
		}
	}
}

func TestWindowTallies(t *testing.T) {
	w := NewWindow(3, 5, 0, 3, 1, constant(2, 0, 4))
	for i, tc := range []struct {
		step params.Step
		t    Tally
		want Verdict
	}{
		{2, Tally{Shard: 0, Images: 2}, Stale},
		{4, Tally{Shard: 0, Images: 2}, Future},
		{3, Tally{Shard: 3, Images: 2}, Malformed},
		{3, Tally{Shard: 0, Images: 3}, Malformed},
		{3, Tally{Shard: 0, Images: 2, Loss: 1.5, Top1: 1, Top5: 2}, Counted},
		{3, Tally{Shard: 0, Images: 2, Loss: 1.5, Top1: 1, Top5: 2}, Repeated},
		{3, Tally{Shard: 1, Images: 0}, Repeated},
		{3, Tally{Shard: 2, Images: 4, Loss: 2, Top1: 3, Top5: 4}, Counted},
	} {
		if got := w.OfferTally(tc.step, tc.t); got != tc.want {
			t.Errorf("tally %d: %v, want %v", i, got, tc.want)
		}
	}
	if _, ok := w.Pop(); ok {
		t.Error("a step without gradients was whole")
	}
	w.Offer(3, node(0, 3), 0)
	if sum, ok := w.Pop(); !ok || sum != (Tally{Images: 6, Loss: 3.5, Top1: 4, Top5: 6}) {
		t.Errorf("sum %+v, whole %v", sum, ok)
	}
}

func TestWindowAsksForTheLowestStepFirst(t *testing.T) {
	w := NewWindow(0, 4, 1, 4, 2, constant(1, 1, 1, 1))
	finish := func(step params.Step, shards ...int) {
		for _, s := range shards {
			for c := range 2 {
				w.Offer(step, params.Leaf(s), c)
			}
			w.OfferTally(step, Tally{Shard: s, Images: 1})
		}
		for ok := true; ok; _, ok = w.Pop() {
		}
	}
	expect := func(why string, owned []int, step params.Step, of ...int) {
		t.Helper()
		gotStep, got, ok := w.Next(owned)
		if ok != (len(of) > 0) || ok && (gotStep != step || !slices.Equal(got, of)) {
			t.Errorf("%s: shards %v are asked for %v at step %d, want %v at step %d", why, owned, got, gotStep, of, step)
		}
	}
	expect("at first", []int{0, 1}, 0, 0, 1)
	finish(0, 0, 1)
	expect("ahead by one", []int{0, 1}, 1, 0, 1)
	finish(1, 0, 1)
	expect("ahead by more than one", []int{0, 1}, 0)
	w.Offer(0, node(2, 4), 0)
	expect("counted in part", []int{2, 3}, 0, 2)
	expect("one in part, others not at all", []int{0, 1, 2}, 0, 2)
	w.Offer(0, node(2, 3), 1)
	expect("all but the tally", []int{2}, 0, 2)
	finish(0, 2)
	expect("the other in part", []int{2, 3}, 0, 3)
	finish(0, 3)
	expect("the slowest has moved on", []int{0, 1}, 2, 0, 1)
	if w.Ahead() != 1 {
		t.Errorf("%d steps ahead at most, want 1", w.Ahead())
	}
	w.EndAsked()
	finish(1, 2, 3)
	finish(2, 0, 1, 2, 3)
	expect("no step that nobody was asked for", []int{0, 1, 2, 3}, 0)
	if !w.Complete() {
		t.Error("all steps that were asked for are whole, and the window is not complete")
	}
}

func TestWindowEndsWithWhatHasCounted(t *testing.T) {
	w := NewWindow(0, 9, -1, 2, 1, constant(1, 1))
	w.Next([]int{0})
	w.EndCounted()
	if !w.Complete() {
		t.Error("nothing has counted, and the window waits for something")
	}
	w = NewWindow(0, 9, -1, 2, 1, constant(1, 1))
	w.Offer(1, node(0, 1), 0)
	w.EndCounted()
	if w.Complete() || w.Offer(2, node(0, 1), 0) != Future || w.Offer(0, node(0, 1), 0) != Counted {
		t.Error("want steps 0 and 1 to be waited for, and no other")
	}
}

// Shards without images are asked for with others, so that one node covers all.
func TestWindowAsksForEmptyShardsToo(t *testing.T) {
	w := NewWindow(0, 1, -1, 4, 1, constant(1, 1, 1, 0))
	if _, of, _ := w.Next([]int{0, 1, 2, 3}); len(of) != 4 {
		t.Errorf("asked for %v, want all four", of)
	}
	if _, _, ok := w.Next([]int{3}); ok {
		t.Error("asked for a shard without images alone")
	}
}

func TestWindowCountsRefusalsByName(t *testing.T) {
	w := NewWindow(0, 2, -1, 1, 1, constant(1))
	for i, want := range []int{1, 2} {
		if got := w.Refuse(0, node(0, 1), 0); got != want {
			t.Errorf("refusal %d counted as %d", i, got)
		}
	}
	if got := w.Refuse(1, node(0, 1), 0); got != 1 {
		t.Errorf("at another step counted as %d, want 1", got)
	}
}

// world is a small job: two workers, who owns which shard, and what they have in
// hand. A message is a chunk of a node, or what its shards tally to.
type world struct {
	window  *Window
	owner   []int // by shard
	hand    [2][]message
	idle    [2]bool
	dead    [2]bool
	moves   int // shards that may still move
	applied map[string]int
}

type message struct {
	step  params.Step
	node  params.Node
	chunk int // -1: the tallies of all shards of the work
	of    []int
}

const worldChunks = 2

func (x *world) clone() *world {
	y := *x
	w := *x.window
	w.steps = nil
	for _, o := range x.window.steps {
		c := *o
		c.left, c.tallies, c.counted = slices.Clone(o.left), slices.Clone(o.tallies), nil
		for _, row := range o.counted {
			c.counted = append(c.counted, slices.Clone(row))
		}
		w.steps = append(w.steps, &c)
	}
	y.window, y.owner, y.applied = &w, slices.Clone(x.owner), maps.Clone(x.applied)
	for i := range x.hand {
		y.hand[i] = slices.Clone(x.hand[i])
	}
	return &y
}

func (x *world) key() string {
	s := fmt.Sprint(x.window.low, x.window.asked, x.owner, x.hand, x.idle, x.dead, x.moves)
	for _, o := range x.window.steps {
		s += fmt.Sprint(o.counted, o.tallies)
	}
	return s
}

func (x *world) owned(worker int) (shards []int) {
	for s, o := range x.owner {
		if o == worker {
			shards = append(shards, s)
		}
	}
	return shards
}

// ask gives a worker its next work.
func (x *world) ask(worker int) bool {
	step, of, ok := x.window.Next(x.owned(worker))
	if !ok {
		return false
	}
	of = slices.Clone(of)
	x.hand[worker], x.idle[worker] = nil, false
	for _, d := range params.Cover(of, len(x.owner)) {
		for c := range worldChunks {
			x.hand[worker] = append(x.hand[worker], message{step, d, c, nil})
		}
	}
	x.hand[worker] = append(x.hand[worker], message{step, params.Node{}, -1, of})
	return true
}

// deliver brings a worker's next message to the window.
func (x *world) deliver(t *testing.T, worker int) {
	m := x.hand[worker][0]
	x.hand[worker] = x.hand[worker][1:]
	if m.chunk >= 0 {
		if x.window.Offer(m.step, m.node, m.chunk) == Counted {
			for s := m.node.First; s < m.node.End; s++ {
				x.applied[fmt.Sprint(m.step, s, m.chunk)]++
			}
		}
	} else {
		for _, s := range m.of {
			x.window.OfferTally(m.step, Tally{Shard: s, Images: 1})
		}
		x.idle[worker] = true
	}
	for {
		low := x.window.low
		if _, ok := x.window.Pop(); !ok {
			return
		}
		for s := range x.owner {
			for c := range worldChunks {
				if n := x.applied[fmt.Sprint(low, s, c)]; n != 1 {
					t.Fatalf("step %d is whole, and chunk %d of shard %d was applied %d times", low, c, s, n)
				}
			}
		}
	}
}

// Whatever the order of messages, whichever worker dies and whenever, and wherever
// shards move meanwhile: every shard counts once in every chunk of every step, and
// the job never stands still.
func TestWindowCountsOnceWhateverHappens(t *testing.T) {
	for _, tc := range []struct {
		ahead int
		steps params.Step
		owner []int
	}{{-1, 2, []int{0, 0, 1}}, {1, 3, []int{0, 1}}} {
		seen := map[string]bool{}
		var walk func(x *world)
		walk = func(x *world) {
			k := x.key()
			if seen[k] {
				return
			}
			seen[k] = true
			if x.window.Complete() {
				return
			}
			moved := false
			try := func(change func(*world) bool) {
				if y := x.clone(); change(y) {
					moved = true
					walk(y)
				}
			}
			for w := range 2 {
				if x.dead[w] {
					continue
				}
				if len(x.hand[w]) > 0 {
					try(func(y *world) bool { y.deliver(t, w); return true })
				}
				if x.idle[w] {
					try(func(y *world) bool { return y.ask(w) })
				}
			}
			if !moved {
				t.Fatalf("the job stands still: owners %v, in hand %v, dead %v, low %d", x.owner, x.hand, x.dead, x.window.low)
			}
			// These need not happen. A worker that a shard moves to is asked anew.
			for w := range 2 {
				if !x.dead[0] && !x.dead[1] {
					try(func(y *world) bool {
						y.dead[w], y.hand[w] = true, nil
						for s := range y.owner {
							y.owner[s] = 1 - w
						}
						y.idle[1-w] = true
						return true
					})
				}
			}
			if x.moves > 0 && !x.dead[0] && !x.dead[1] {
				for s := range x.owner {
					try(func(y *world) bool {
						y.moves--
						y.owner[s] = 1 - y.owner[s]
						y.idle = [2]bool{true, true} // what they have in hand they may still send, or not
						return true
					})
				}
			}
		}
		walk(&world{
			window: NewWindow(0, tc.steps, tc.ahead, len(tc.owner), worldChunks, constant(ones(len(tc.owner))...)),
			owner:  tc.owner, idle: [2]bool{true, true}, moves: 1, applied: map[string]int{},
		})
		t.Logf("%d shards, %d steps, %d ahead: %d states", len(tc.owner), tc.steps, tc.ahead, len(seen))
	}
}
