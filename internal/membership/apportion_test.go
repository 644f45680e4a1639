package membership

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// sharings calls f with every way to give n shards to so many workers.
func sharings(n, workers int, f func(number []int)) {
	number := make([]int, workers)
	var place func(w, left int)
	place = func(w, left int) {
		if w == workers-1 {
			number[w] = left
			f(number)
			return
		}
		for k := range left + 1 {
			number[w] = k
			place(w+1, left-k)
		}
	}
	place(0, n)
}

// Of all sharings of few shards that give everyone some, if there are enough, and
// nobody who is away more than it owns, none is done earlier.
func TestApportionIsAsQuickAsWholeShardsAllow(t *testing.T) {
	costs := []float64{1, 1, 1.5, 2, 4}
	compared := 0
	for n := range 9 {
		for setting := range 5 * 5 * 5 * 8 {
			var workers []worker
			for w, s := 0, setting; w < 3; w++ {
				workers = append(workers, worker{cost: costs[s%5], away: setting/125>>w&1 == 1, has: make([]int, (s+w)%4)})
				s /= 5
			}
			got := apportion(workers, n)
			allAway := setting/125 == 7
			most := func(i int) int {
				if workers[i].away && !allAway {
					return len(workers[i].has)
				}
				return n
			}
			allowed := func(number []int) bool {
				takers, idle := 0, 0
				for i := range workers {
					if number[i] > most(i) {
						return false
					}
					if most(i) > 0 {
						takers++
						idle += one(number[i] == 0)
					}
				}
				return n < takers || idle == 0
			}
			name := fmt.Sprintf("%d shards among %+v: %v", n, workers, got)
			if sum := got[0] + got[1] + got[2]; sum != n || !allowed(got) {
				t.Fatalf("%s: %d in all, allowed %v", name, sum, allowed(got))
			}
			sharings(n, len(workers), func(number []int) {
				if !allowed(number) {
					return
				}
				compared++
				if ends(workers, number) < ends(workers, got) {
					t.Fatalf("%s ends at %v, %v would at %v", name, ends(workers, got), number, ends(workers, number))
				}
			})
		}
	}
	if compared < 30000 {
		t.Errorf("only %d sharings were compared", compared)
	}
}

// ends is when the slowest is done.
func ends(workers []worker, number []int) float64 {
	end := 0.0
	for i, n := range number {
		end = max(end, workers[i].cost*float64(n))
	}
	return end
}

// The shortcut at its beginning changes nothing: the numbers are those of giving
// the shards out one by one.
func TestApportionGivesOneByOne(t *testing.T) {
	for n := range 200 {
		for _, costs := range [][]float64{{1, 1, 1}, {1, 1, 1, 4}, {0.25, 1, 1, 1, 1}, {3, 3, 7, 1.1}, {1, 1e6}, {1e-3, 1, 1e3}} {
			var workers []worker
			for i, c := range costs {
				workers = append(workers, worker{cost: c, has: make([]int, (n*7+i*3)%5)})
			}
			want := make([]int, len(costs))
			for range n {
				best := 0
				key := func(i int) (bool, float64, int) { // who has none is first, if there are enough
					return n >= len(costs) && want[i] == 0, workers[i].cost * float64(want[i]+1), -len(workers[i].has)
				}
				for i := range costs {
					none, end, had := key(i)
					bestNone, bestEnd, bestHad := key(best)
					if none != bestNone && none || none == bestNone && (end < bestEnd || end == bestEnd && had < bestHad) {
						best = i
					}
				}
				want[best]++
			}
			if got := apportion(workers, n); !slices.Equal(got, want) {
				t.Fatalf("%d shards, costs %v: %v, one by one %v", n, costs, got, want)
			}
		}
	}
}

// Whatever costs workers have and whoever is away: of each worker no more moves than
// its number makes necessary, and who is away is given nothing while others are there.
func TestAsFewShardsMoveAsTheNumbersAllow(t *testing.T) {
	moved, spared := 0, 0
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 3))
		play(t, 24, func(c scene, next Assignment, _ bool) {
			// The same situation, with costs, and some away.
			members := slices.Clone(c.members)
			there := false
			for i := range members {
				members[i].Cost = []float64{0, 1, 1, 2, 4}[random.IntN(5)]
				members[i].Away = random.IntN(4) == 0
				there = there || members[i].Pinned < 0 && !members[i].Away
			}
			next, _ = Assign(c.prev, members, c.shards, c.handover)
			for _, m := range members {
				if m.Pinned >= 0 {
					continue
				}
				had, kept, has := 0, 0, 0
				for s, id := range next.Owner {
					if next.Pinned[s] {
						continue
					}
					had += one(c.prev.Owner[s] == m.ID)
					kept += one(c.prev.Owner[s] == m.ID && id == m.ID)
					has += one(id == m.ID)
				}
				if kept != min(had, has) {
					t.Errorf("%v: %s had %d free shards and has %d, of which it kept %d: %s", c, m.ID, had, has, kept, owners(next))
				}
				moved += had - kept
				if m.Away && there {
					spared++
					if has > had {
						t.Errorf("%v: %s is away, had %d free shards and has %d: %s", c, m.ID, had, has, owners(next))
					}
				}
			}
		})
	}
	if moved < 1000 || spared < 1000 {
		t.Errorf("%d shards moved, %d workers were away: too little happened", moved, spared)
	}
}
