package membership

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// stage is a simulated job: its workers compute, Pace watches, Assign shares.
type stage struct {
	costs    []float64     // seconds for a shard, by worker
	overhead float64       // shards' worth of time that a step takes a worker beside its shards
	noise    float64       // by which a time differs, up or down, at most
	exchange time.Duration // what a step takes beside the slowest worker
	keep     bool          // costs are watched, shards stay

	now        time.Time
	random     *rand.Rand
	pace       *Pace
	assignment Assignment
	members    []Candidate
	moved      []time.Time // when shards moved
}

func newStage(shards int, costs ...float64) *stage {
	g := &stage{
		costs: costs, exchange: 100 * time.Millisecond, now: time.Unix(0, 0),
		random: rand.New(rand.NewPCG(uint64(shards), uint64(len(costs)))), pace: NewPace(DefaultPaceConfig()),
	}
	for w := range costs {
		g.members = append(g.members, Candidate{Member: Member{ID: fmt.Sprintf("w%d", w), Pinned: -1, Joined: int64(w)}})
	}
	g.assignment, _ = Assign(Assignment{}, g.members, shards, nil)
	return g
}

// seconds is how long a worker would take for so many shards, without noise.
func (g *stage) seconds(w, shards int) float64 {
	if shards == 0 {
		return 0
	}
	return g.costs[w] * (float64(shards) + g.overhead)
}

// stepTime is how long the slowest takes.
func (g *stage) stepTime(number []int) float64 {
	longest := 0.0
	for w := range g.costs {
		longest = max(longest, g.seconds(w, number[w]))
	}
	return longest
}

func (g *stage) numbers() []int {
	number := make([]int, len(g.costs))
	for w, m := range g.members {
		number[w] = len(g.assignment.Shards(m.ID))
	}
	return number
}

// step makes a step, in which slow tells by what a worker's time is multiplied.
func (g *stage) step(slow func(w int) float64) {
	loads := map[string]Load{}
	longest := 0.0
	for w, n := range g.numbers() {
		if n == 0 {
			continue
		}
		took := g.seconds(w, n) * (1 + g.noise*(2*g.random.Float64()-1)) * slow(w)
		longest = max(longest, took)
		loads[g.members[w].ID] = Load{Seconds: took, Images: 16 * n, Shards: n}
	}
	g.now = g.now.Add(g.exchange + time.Duration(longest*float64(time.Second)))
	if !g.pace.Step(g.now, loads) || g.keep {
		return
	}
	for w := range g.members {
		g.members[w].Cost = g.pace.Cost(g.members[w].ID)
	}
	next, changed := Assign(g.assignment, g.members, len(g.assignment.Owner), nil)
	if changed {
		g.moved = append(g.moved, g.now)
	}
	g.assignment = next
}

func steady(int) float64 { return 1 }

func (g *stage) run(d time.Duration) {
	for end := g.now.Add(d); g.now.Before(end); {
		g.step(steady)
	}
}

func (g *stage) stragglers() string {
	var names []string
	for _, m := range g.members {
		if g.pace.Straggler(m.ID) {
			names = append(names, m.ID)
		}
	}
	return strings.Join(names, " ")
}

// Whatever the speeds, soon a step takes hardly longer than it must with these
// workers, and from then on no shard moves.
func TestShardsMoveUntilAStepIsAsShortAsCanBe(t *testing.T) {
	for _, costs := range [][]float64{{1, 1, 1, 4}, {4, 4, 4, 1}, {1, 1, 2, 2}, {1, 3}, {1, 1, 3, 5}, {1, 1, 1, 1.2}} {
		for _, shards := range []int{8, 16, 64} {
			if shards > 16 && testing.Short() {
				continue
			}
			var scaled []float64 // such that steps take seconds
			for _, c := range costs {
				scaled = append(scaled, c/float64(shards))
			}
			for _, overhead := range []float64{0, 0.5, 2} {
				for _, noise := range []float64{0, 0.1, 0.2} {
					g := newStage(shards, scaled...)
					g.overhead, g.noise = overhead, noise
					equal := g.stepTime(g.numbers())
					g.run(30 * time.Minute)
					settled := g.now
					g.run(time.Hour)

					best := equal
					sharings(shards, len(costs), func(number []int) {
						if !slices.Contains(number, 0) {
							best = min(best, g.stepTime(number))
						}
					})
					name := fmt.Sprintf("costs %v, %d shards, overhead %v, noise %v", costs, shards, overhead, noise)
					limit := 1.15 // costs are powers of the fourth root of 2, and 1.2 is no clear factor
					if overhead > 0 {
						limit = 1.4 // which a cost for a shard can't express
					}
					if got := g.stepTime(g.numbers()); got > best*limit || got > equal {
						t.Errorf("%s: a step takes %.2f s with shards %v, %.2f s would do; with equal numbers %.2f s", name, got, g.numbers(), best, equal)
					}
					if n := len(g.moved); n > 0 && g.moved[n-1].After(settled) {
						t.Errorf("%s: shards moved after half an hour, %d times in all", name, n)
					}
					if len(g.moved) > 6 {
						t.Errorf("%s: shards moved %d times", name, len(g.moved))
					}
				}
			}
		}
	}
}

func TestOneOfFourThatIsFourTimesSlower(t *testing.T) {
	for _, tc := range []struct {
		shards int
		noise  float64
		want   string
	}{
		{8, 0, "[3 2 2 1]"},
		{16, 0, "[5 5 5 1]"},
		{64, 0, "[20 20 20 4]"},
		{64, 0.15, "[20 20 20 4]"},
	} {
		g := newStage(tc.shards, 0.1, 0.1, 0.1, 0.4)
		g.noise = tc.noise
		g.run(10 * time.Minute)
		if got := fmt.Sprint(g.numbers()); got != tc.want || len(g.moved) != 1 || g.stragglers() != "w3" {
			t.Errorf("%d shards, noise %v: numbers %s after %d changes, stragglers %q; want %s after 1, w3", tc.shards, tc.noise, got, len(g.moved), g.stragglers(), tc.want)
		}
		if speed := g.pace.Speed("w3"); speed < 0.2 || speed > 0.3 {
			t.Errorf("%d shards, noise %v: w3 has speed %v, want about 0.25", tc.shards, tc.noise, speed)
		}
	}
}

func TestNoiseMovesNothing(t *testing.T) {
	for _, noise := range []float64{0.1, 0.2} {
		for _, shards := range []int{8, 9, 13, 64} {
			for _, overhead := range []float64{0, 4} {
				g := newStage(shards, 0.02, 0.02, 0.02, 0.02, 0.02)
				g.noise, g.overhead = noise, overhead
				before := g.assignment
				g.run(time.Hour)
				if len(g.moved) > 0 || g.stragglers() != "" || g.assignment.Number != before.Number {
					t.Errorf("noise %v, %d shards, overhead %v: shards moved %d times, stragglers %q", noise, shards, overhead, len(g.moved), g.stragglers())
				}
			}
		}
	}
}

// What is slow for few steps, or for many in a short time, is no straggler.
func TestAShortDelayMovesNothing(t *testing.T) {
	cfg := DefaultPaceConfig()
	for _, tc := range []struct {
		name string
		step time.Duration // that a step takes in all
		slow int           // steps one after the other that are slow, every 20
		want bool
	}{
		{"one slow step", 20 * time.Second, 1, false},
		{"one fewer than it takes", 20 * time.Second, cfg.Steps - 1, false},
		{"for long enough", 20 * time.Second, cfg.Steps, true},
		{"many steps in a short time", time.Second / 2, cfg.Steps + 2, false},
	} {
		p := NewPace(cfg)
		moved, now := false, time.Unix(0, 0)
		for i := range 200 {
			now = now.Add(tc.step)
			slow := 1.0
			if i%20 < tc.slow {
				slow = 50
			}
			moved = p.Step(now, map[string]Load{"a": {1, 16, 4}, "b": {slow, 16, 4}, "c": {1, 16, 4}}) || moved
		}
		if moved != tc.want {
			t.Errorf("%s: costs changed: %v, want %v", tc.name, moved, tc.want)
		}
	}
}

func TestAWorkerThatRecoversGetsItsShardsBack(t *testing.T) {
	for _, keep := range []bool{false, true} {
		g := newStage(16, 0.05, 0.05, 0.05, 0.05)
		g.noise, g.keep = 0.1, keep
		before := g.numbers()
		late := func(factor float64, d time.Duration) {
			for end := g.now.Add(d); g.now.Before(end); {
				g.step(func(w int) float64 {
					if w == 2 {
						return factor
					}
					return 1
				})
			}
		}
		late(6, 3*time.Minute)
		during := g.numbers()
		if g.stragglers() != "w2" || (during[2] == 1) == keep {
			t.Errorf("keep %v: while w2 is slow numbers are %v, stragglers %q", keep, during, g.stragglers())
		}
		late(1, 5*time.Minute)
		if got := g.numbers(); g.stragglers() != "" || !slices.Equal(got, before) {
			t.Errorf("keep %v: after w2 has recovered numbers are %v, stragglers %q; want %v and none", keep, got, g.stragglers(), before)
		}
		pause := DefaultPaceConfig().Pause
		for i := 1; i < len(g.moved); i++ {
			if gap := g.moved[i].Sub(g.moved[i-1]); gap < pause {
				t.Errorf("shards moved again after %v, want a pause of %v", gap, pause)
			}
		}
	}
}

// Several that are slow at once are seen at once; one that turns slow in the pause
// waits for its end.
func TestChangesAreMadeTogether(t *testing.T) {
	cfg := PaceConfig{Factor: 1.5, Steps: 2, Duration: 0, Pause: time.Minute}
	p := NewPace(cfg)
	now := time.Unix(0, 0)
	var changes []string
	for second := range 100 {
		now = now.Add(time.Second)
		late := 1.0
		if second >= 10 {
			late = 3
		}
		if p.Step(now, map[string]Load{"a": {1, 16, 4}, "b": {1, 16, 4}, "c": {1, 16, 4}, "d": {2, 16, 4}, "e": {4, 16, 4}, "f": {late, 16, 4}, "g": {1, 16, 4}}) {
			changes = append(changes, fmt.Sprintf("%d: d %v, e %v, f %v", second, p.Cost("d"), p.Cost("e"), p.Cost("f") > 2))
		}
	}
	want := []string{"1: d 2, e 4, f false", "61: d 2, e 4, f true"}
	if !slices.Equal(changes, want) {
		t.Errorf("changes %q, want %q", changes, want)
	}
}

func TestPaceKnowsWhoIsThere(t *testing.T) {
	cfg := PaceConfig{Factor: 1.5, Steps: 1, Pause: 0}
	p := NewPace(cfg)
	now := time.Unix(0, 0)
	if p.Step(now, map[string]Load{"a": {9, 16, 4}}) || p.Straggler("a") || p.Speed("a") != 0 {
		t.Error("a worker alone was compared with nobody, and a verdict came of it")
	}
	loads := map[string]Load{"a": {1, 16, 4}, "b": {1, 16, 4}, "c": {4, 16, 4}, "silent": {0, 16, 4}, "idle": {1, 0, 0}}
	if !p.Step(now, loads) || p.Cost("c") != 4 || !p.Straggler("c") || p.Straggler("a") || p.Straggler("nobody") {
		t.Errorf("costs %v, want 4 of c alone", p.workers)
	}
	if p.Cost("silent") != 1 || p.Speed("silent") != 0 || p.Cost("idle") != 1 || p.Cost("nobody") != 1 {
		t.Error("a worker that said nothing of its time has a pace")
	}
	p.Keep(crewMembers("a b"))
	if got := slices.Sorted(maps.Keys(p.workers)); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("known are %v after c has left", got)
	}
}

func crewMembers(words string) []Member {
	var members []Member
	for _, c := range crew(words) {
		members = append(members, c.Member)
	}
	return members
}
