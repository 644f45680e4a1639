package paramserver

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/muster-train/muster/model/params"
)

// windowModel is a Window as a set of names: what has counted, and nothing else.
type windowModel struct {
	low, end params.Step
	ahead    int
	shards   int
	chunks   int
	images   func(params.Step) []int
	counted  map[string]bool // "step shard chunk", and "step shard tally"
}

func name(step params.Step, shard, chunk int) string { return fmt.Sprint(step, shard, chunk) }

const tallied = -1 // in place of a chunk

// has tells whether a step is open.
func (m *windowModel) has(step params.Step) bool {
	return step >= m.low && step < m.end && (m.ahead < 0 || step <= m.low+params.Step(m.ahead))
}

// offer is the verdict on a contribution, which counts if it is to.
func (m *windowModel) offer(step params.Step, d params.Node, chunk int) Verdict {
	switch {
	case step < m.low:
		return Stale
	case !m.has(step):
		return Future
	case chunk < 0 || chunk >= m.chunks || !d.Valid(m.shards):
		return Malformed
	}
	var fresh []string
	old := 0
	for s := d.First; s < d.End; s++ {
		switch {
		case m.images(step)[s] == 0:
		case m.counted[name(step, s, chunk)]:
			old++
		default:
			fresh = append(fresh, name(step, s, chunk))
		}
	}
	switch {
	case len(fresh) == 0:
		return Repeated
	case old > 0:
		return Mixed
	}
	for _, n := range fresh {
		m.counted[n] = true
	}
	return Counted
}

// whole tells whether everything of a step has counted.
func (m *windowModel) whole(step params.Step) bool {
	for s, n := range m.images(step) {
		for c := tallied; c < m.chunks && n > 0; c++ {
			if !m.counted[name(step, s, c)] {
				return false
			}
		}
	}
	return true
}

// finished tells whether a shard owes nothing more of a step, and untouched whether
// nothing of it has counted in a chunk.
func (m *windowModel) finished(step params.Step, s int) (finished, untouched bool) {
	finished, untouched = true, true
	for c := tallied; c < m.chunks; c++ {
		counted := m.counted[name(step, s, c)]
		finished = finished && counted
		untouched = untouched && (c == tallied || !counted)
	}
	return finished || m.images(step)[s] == 0, untouched
}

// Random contributions of random steps, workers whose shards move at any time, and
// messages that come twice: every verdict is that of the set, Next asks for what the
// set lacks, and steps are taken out in order once they are whole.
func TestWindowAgainstASetOfNames(t *testing.T) {
	const crew = 3
	verdicts := map[Verdict]int{}
	for seed := range uint64(3000) {
		random := rand.New(rand.NewPCG(seed, 6))
		shards, chunks := 1+random.IntN(6), 1+random.IntN(3)
		first := params.Step(random.IntN(5))
		end := first + 1 + params.Step(random.IntN(5))
		ahead := random.IntN(4) - 1
		all := map[params.Step][]int{}
		for step := first; step < end; step++ {
			all[step] = make([]int, shards)
			for s := range all[step] {
				all[step][s] = random.IntN(3)
			}
			all[step][random.IntN(shards)] = 1
		}
		images := func(step params.Step) []int { return all[step] }
		w := NewWindow(first, end, ahead, shards, chunks, images)
		m := &windowModel{low: first, end: end, ahead: ahead, shards: shards, chunks: chunks, images: images, counted: map[string]bool{}}
		owner := make([]int, shards)
		for s := range owner {
			owner[s] = random.IntN(crew)
		}
		nodes := nodesOf(shards)
		offer := func(step params.Step, d params.Node, chunk int) {
			want := m.offer(step, d, chunk)
			if got := w.Offer(step, d, chunk); got != want {
				t.Fatalf("seed %d: %v, chunk %d of step %d, at %d: verdict %v, want %v", seed, d, chunk, step, m.low, got, want)
			}
			verdicts[want]++
		}
		tally := func(step params.Step, s int) {
			want := Counted
			switch {
			case step < m.low:
				want = Stale
			case !m.has(step):
				want = Future
			case images(step)[s] == 0 || m.counted[name(step, s, tallied)]:
				want = Repeated
			default:
				m.counted[name(step, s, tallied)] = true
			}
			n := 0
			if step >= first && step < end {
				n = images(step)[s]
			}
			if got := w.OfferTally(step, Tally{Shard: s, Images: n, Loss: 1}); got != want {
				t.Fatalf("seed %d: tally of shard %d of step %d, at %d: verdict %v, want %v", seed, s, step, m.low, got, want)
			}
		}
		for i := 0; m.low < end; i++ {
			if i > 20000 {
				t.Fatalf("seed %d: step %d is never whole", seed, m.low)
			}
			switch random.IntN(8) {
			case 0: // anything at all
				offer(first-min(first, 1)+params.Step(random.IntN(8)), nodes[random.IntN(len(nodes))], random.IntN(chunks+1))
			case 1:
				owner[random.IntN(shards)] = random.IntN(crew)
			case 2:
				tally(first+params.Step(random.IntN(8)), random.IntN(shards))
			default: // a worker does some of what it is asked for
				worker := random.IntN(crew)
				var owned []int
				for s, o := range owner {
					if o == worker {
						owned = append(owned, s)
					}
				}
				step, of, ok := w.Next(owned)
				if want, exists := m.next(owned); ok != exists || ok && step != want {
					t.Fatalf("seed %d: a worker of %v is asked for step %d, %v; want %d, %v", seed, owned, step, ok, want, exists)
				}
				if !ok {
					continue
				}
				m.checkWork(t, step, of)
				for _, d := range params.Cover(of, shards) {
					for c := range chunks {
						if random.IntN(4) > 0 { // else it is lost on the way
							offer(step, d, c)
						}
					}
				}
				for _, s := range of {
					if random.IntN(4) > 0 {
						tally(step, s)
					}
				}
			}
			for {
				sum, ok := w.Pop()
				if whole := m.low < end && m.whole(m.low); ok != whole {
					t.Fatalf("seed %d: step %d is taken out: %v, whole: %v", seed, m.low, ok, whole)
				}
				if !ok {
					break
				}
				n, losses := 0, 0.0
				for _, i := range images(m.low) {
					n += i
					losses += float64(one(i > 0))
				}
				if sum.Images != n || sum.Loss != losses {
					t.Fatalf("seed %d: step %d comes to %+v, want %d images and a loss of %v", seed, m.low, sum, n, losses)
				}
				m.low++
			}
		}
		if !w.Complete() {
			t.Fatalf("seed %d: all steps are whole, and the window isn't complete", seed)
		}
	}
	for v := Counted; v <= Mixed; v++ {
		if verdicts[v] < 100 {
			t.Errorf("verdict %v was given only %d times", v, verdicts[v])
		}
	}
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// next is the lowest step of which one of some shards owes anything.
func (m *windowModel) next(shards []int) (params.Step, bool) {
	for step := m.low; m.has(step); step++ {
		for _, s := range shards {
			if finished, _ := m.finished(step, s); !finished {
				return step, true
			}
		}
	}
	return 0, false
}

// checkWork: what is asked for together can count together. So either nothing of its
// shards has counted, or it is one shard.
func (m *windowModel) checkWork(t *testing.T, step params.Step, of []int) {
	t.Helper()
	owing := 0
	for _, s := range of {
		finished, untouched := m.finished(step, s)
		if m.images(step)[s] == 0 {
			continue // adds nothing
		}
		owing++
		if finished || !untouched && len(of) > 1 {
			t.Errorf("step %d: shard %d of %v is asked for: finished %v, untouched %v", step, s, of, finished, untouched)
		}
	}
	if owing == 0 {
		t.Errorf("step %d: asked for %v, none of which owes anything", step, of)
	}
}
