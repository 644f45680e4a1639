package membership

import (
	"cmp"
	"slices"
)

// share gives the free shards to the workers, in order of arrival, in the numbers
// that apportion says. Each worker keeps as much of what it owned before as its
// number allows, which makes the moves the fewest that such numbers can.
//
// It takes time in proportion to the shards, and for each that moves to what its
// worker owns and to what is left to give: a thousand workers change all the time.
func share(owner, before []string, free []int, workers []worker) {
	place := make(map[string]int, len(workers))
	for i, w := range workers {
		place[w.id] = i
	}
	count := make([]int, len(workers))
	for _, s := range free {
		if i, ok := place[before[s]]; ok {
			count[i]++
		}
	}
	all := make([]int, 0, len(free)) // what workers have, one after the other
	for i, n := range count {
		workers[i].has = all[len(all) : len(all) : len(all)+n]
		all = all[:len(all)+n]
	}
	var pool []int // shards to be given out, in ascending order
	for _, s := range free {
		if i, ok := place[before[s]]; ok {
			workers[i].has = append(workers[i].has, s)
		} else {
			pool = append(pool, s)
		}
	}
	number := apportion(workers, len(free))

	// Who gives does so where siblings come together, if it can.
	pooled := make([]bool, len(owner))
	for _, s := range pool {
		pooled[s] = true
	}
	for i := range workers {
		w := &workers[i]
		for len(w.has) > number[i] {
			given := pick(w.has, len(owner), len(w.has)-number[i], true, pooled)
			w.has = without(w.has, given)
			for _, s := range given.shards() {
				pool, pooled[s] = append(pool, s), true
			}
		}
		for _, s := range w.has {
			owner[s] = w.id
		}
	}
	slices.Sort(pool)
	var hungry []int
	for i, w := range workers {
		if len(w.has) < number[i] {
			hungry = append(hungry, i)
		}
	}
	give := func(i int, t subtree) {
		w := &workers[i]
		pool = without(pool, t)
		for _, s := range t.shards() {
			owner[s] = w.id
			w.has = append(w.has, s)
		}
	}

	// First whatever makes a larger node of a worker's.
	for {
		i, t := reunite(pool, owner, func(id string, n int) (int, bool) {
			i, ok := place[id]
			return i, ok && len(workers[i].has)+n <= number[i]
		})
		if t.len() == 0 {
			break
		}
		give(i, t)
	}
	// Then those who lack most choose, while whole subtrees are left.
	slices.SortStableFunc(hungry, func(a, b int) int {
		return cmp.Compare(number[b]-len(workers[b].has), number[a]-len(workers[a].has))
	})
	have := make([]bool, len(owner)) // what the one who chooses owns
	for _, i := range hungry {
		w := &workers[i]
		for _, s := range w.has {
			have[s] = true
		}
		for len(w.has) < number[i] {
			t := pick(pool, len(owner), number[i]-len(w.has), false, have)
			give(i, t)
			for _, s := range t.shards() {
				have[s] = true
			}
		}
		for _, s := range w.has {
			have[s] = false
		}
	}
}

// reunite returns the largest subtree of the pool whose sibling belongs to one
// worker, who has room for it, of equals the first; an empty one if there is none.
func reunite(pool []int, owner []string, room func(id string, n int) (int, bool)) (worker int, t subtree) {
	for _, node := range cover(pool, len(owner)) {
		sibling := node.sibling(len(owner))
		if node.len() <= t.len() || sibling.len() == 0 {
			continue
		}
		id := owner[sibling.first]
		if slices.ContainsFunc(owner[sibling.first:sibling.end], func(o string) bool { return o != id }) {
			continue
		}
		if i, ok := room(id, node.len()); ok {
			worker, t = i, node
		}
	}
	return worker, t
}
