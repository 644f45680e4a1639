package paramserver

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/params"
)

// formal is the sum over a node as an expression, by definition: 0, (0+1), ((0+1)+2).
// Two sums have the same bits whatever their summands only if they are the same
// expression. A half without images is not there.
func formal(d params.Node, images []int) string {
	if d.Len() == 1 {
		if images[d.First] == 0 {
			return ""
		}
		return fmt.Sprint(d.First)
	}
	l, r := d.Halves()
	return plus(formal(l, images), formal(r, images))
}

func plus(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return "(" + a + "+" + b + ")"
}

// nodesOf returns all nodes of the tree over n shards.
func nodesOf(n int) (nodes []params.Node) {
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
	return nodes
}

// modelled is a chunk of a Round beside what it should be: a set of shards that have
// counted, and the values that were kept.
type modelled struct {
	round   *Round
	images  []int
	counted map[int]bool   // shards with images
	slots   map[int]string // values, as a lane keeps them
	whole   string         // the sum over all shards, once there is one
}

// offer offers a node of the Round's step, and checks what becomes of it.
func (m *modelled) offer(t *testing.T, d params.Node, chunk int) Verdict {
	t.Helper()
	news := 0
	for s := d.First; s < d.End; s++ {
		if m.images[s] > 0 && !m.counted[s] {
			news++
		}
	}
	o := m.round.Offer(m.round.step, d, chunk)
	if want := map[bool]Verdict{true: Counted, false: Repeated}[news > 0]; o.Verdict != want {
		t.Fatalf("images %v, counted %v: %v has %d shards that have not counted, verdict %v", m.images, m.counted, d, news, o.Verdict)
	}
	if o.Verdict != Counted {
		return o.Verdict
	}
	take := func(slot int) string {
		value, ok := m.slots[slot]
		if !ok {
			t.Fatalf("images %v, %v: slot %d is empty", m.images, d, slot)
		}
		delete(m.slots, slot)
		return value
	}
	for _, slot := range o.Drop {
		take(slot)
	}
	value := formal(d, m.images)
	for _, slot := range o.Add {
		// Floats commute: the bits of a+b are those of b+a.
		if other := take(slot); before(other, value) {
			value = plus(other, value)
		} else {
			value = plus(value, other)
		}
	}
	for s := d.First; s < d.End; s++ {
		if m.images[s] > 0 {
			m.counted[s] = true
		}
	}
	if o.Complete {
		m.whole = value
		if len(m.slots) > 0 {
			t.Fatalf("images %v: complete with %d values left", m.images, len(m.slots))
		}
		return Counted
	}
	if _, taken := m.slots[o.Slot]; taken {
		t.Fatalf("images %v, %v: slot %d is given out twice", m.images, d, o.Slot)
	}
	m.slots[o.Slot] = value
	return Counted
}

// before orders expressions by their first shard.
func before(a, b string) bool {
	first := func(s string) (n int) {
		fmt.Sscan(strings.TrimLeft(s, "("), &n)
		return n
	}
	return first(a) < first(b)
}

func (m *modelled) clone() *modelled {
	c := *m
	r := *m.round
	r.chunks = slices.Clone(r.chunks)
	for i, g := range r.chunks {
		r.chunks[i].held, r.chunks[i].free = slices.Clone(g.held), slices.Clone(g.free)
	}
	r.add, r.drop = nil, nil
	c.round, c.counted, c.slots = &r, map[int]bool{}, map[int]string{}
	for k, v := range m.counted {
		c.counted[k] = v
	}
	for k, v := range m.slots {
		c.slots[k] = v
	}
	return &c
}

// Every order of every node of small trees, whatever shards have images: what a shard
// sends counts once, with the sum of the tree's own expression, and no slot is lost.
func TestRoundAgainstSetsAndExpressions(t *testing.T) {
	states := 0
	for n := 1; n <= 7; n++ {
		for pattern := 1; pattern < 1<<n; pattern++ {
			images := make([]int, n)
			for s := range images {
				images[s] = pattern >> s & 1
			}
			want := formal(params.Root(n), images)
			seen := map[string]bool{}
			var walk func(m *modelled)
			walk = func(m *modelled) {
				g := m.round.chunks[0]
				var values []string
				for _, v := range m.slots {
					values = append(values, v)
				}
				slices.Sort(values)
				if len(g.held) != len(values) || g.slots-len(g.free) != len(values) {
					t.Fatalf("images %v: %d nodes are held, %d slots are taken, %d values kept", images, len(g.held), g.slots-len(g.free), len(values))
				}
				key := fmt.Sprint(values, m.whole)
				if seen[key] {
					return
				}
				seen[key] = true
				if g.complete != (len(m.counted) == m.round.awaited) || g.complete && m.whole != want {
					t.Fatalf("images %v: counted %v, complete %v, the sum is %s, want %s", images, m.counted, g.complete, m.whole, want)
				}
				for _, d := range nodesOf(n) {
					next := m.clone()
					next.offer(t, d, 0)
					walk(next)
				}
			}
			walk(&modelled{round: NewRound(3, images, 1), images: images, counted: map[int]bool{}, slots: map[int]string{}})
			states += len(seen)
		}
	}
	if states < 2000 {
		t.Errorf("only %d states were seen", states)
	}
	t.Logf("%d states", states)
}

// Workers compute what they own, step by step, while shards move in mid-round, workers
// die and messages come late, twice or of another step. Each step ends with the same
// expressions, in every chunk, and its tallies once.
func TestRoundsWhateverHappensToWorkers(t *testing.T) {
	const chunks, steps, crew = 2, 4, 3
	type sent struct {
		step  params.Step
		node  params.Node
		chunk int // -1: the tallies of the node's shards
	}
	late := map[Verdict]int{}
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 5))
		n := 1 + random.IntN(8)
		owner := make([]int, n)
		for s := range owner {
			owner[s] = random.IntN(crew)
		}
		var wire []sent // on their way, in any order
		var old []sent  // that have arrived: they may come again
		for step := range params.Step(steps) {
			images := make([]int, n)
			for s := range images {
				images[s] = random.IntN(3)
			}
			images[random.IntN(n)] = 2
			round := NewRound(step, images, chunks)
			// A chunk of each model is the Round's; Offer keeps them apart.
			var models [chunks]*modelled
			for c := range models {
				models[c] = &modelled{round: round, images: images, counted: map[int]bool{}, slots: map[int]string{}}
			}
			var tallies []int
			work := func(worker int) {
				var shards []int
				for s, o := range owner {
					if o == worker {
						shards = append(shards, s)
					}
				}
				for _, d := range params.Cover(shards, n) {
					for c := -1; c < chunks; c++ {
						wire = append(wire, sent{step, d, c})
					}
				}
			}
			for w := range crew {
				work(w)
			}
			deliver := func(m sent) {
				if m.chunk >= 0 {
					if m.step == step {
						late[models[m.chunk].offer(t, m.node, m.chunk)]++
						return
					}
					v := round.Offer(m.step, m.node, m.chunk).Verdict
					if want := map[bool]Verdict{true: Stale, false: Future}[m.step < step]; v != want {
						t.Fatalf("seed %d: a contribution of step %d at step %d: %v", seed, m.step, step, v)
					}
					late[v]++
					return
				}
				for s := m.node.First; s < m.node.End; s++ {
					v := round.OfferTally(m.step, Tally{Shard: s, Images: images[s]})
					if v == Counted {
						tallies = append(tallies, s)
					}
				}
			}
			for i := 0; !round.Complete(); i++ {
				if i > 10000 {
					t.Fatalf("seed %d: step %d is never whole: owners %v, on their way %v", seed, step, owner, wire)
				}
				switch event := random.IntN(10); {
				case len(wire) == 0: // all has arrived but what died: owners are asked again
					for w := range crew {
						work(w)
					}
				case event == 0: // a shard moves, and its new owner is asked for all it owns
					s := random.IntN(n)
					owner[s] = random.IntN(crew)
					work(owner[s])
				case event == 1: // what is on its way is lost with its worker
					wire = slices.Delete(wire, 0, 1+random.IntN(len(wire)))
				case event == 2 && len(old) > 0:
					deliver(old[random.IntN(len(old))])
				case event == 3:
					deliver(sent{step + 1, params.Root(n), random.IntN(chunks)})
				default:
					i := random.IntN(len(wire))
					m := wire[i]
					wire = slices.Delete(wire, i, i+1)
					old = append(old, m)
					deliver(m)
				}
			}
			var expected []int
			for s, k := range images {
				if k > 0 {
					expected = append(expected, s)
				}
			}
			slices.Sort(tallies)
			if !slices.Equal(tallies, expected) {
				t.Fatalf("seed %d: step %d: tallies of %v counted, want %v", seed, step, tallies, expected)
			}
			for c, m := range models {
				if want := formal(params.Root(n), images); m.whole != want {
					t.Fatalf("seed %d: step %d, chunk %d: %s, want %s", seed, step, c, m.whole, want)
				}
			}
		}
	}
	for _, v := range []Verdict{Counted, Repeated, Stale, Future} {
		if late[v] < 100 {
			t.Errorf("verdict %v was given only %d times", v, late[v])
		}
	}
}
