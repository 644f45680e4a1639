package membership

import (
	"cmp"
	"container/heap"
	"slices"
)

// worker is an unpinned candidate among those who share the free shards.
type worker struct {
	id   string
	cost float64 // time for one shard, in any unit that all have in common
	away bool    // it may keep shards, but not be given more
	has  []int   // the free shards it owns, in ascending order
}

// apportion returns how many of n shards each worker is to own.
//
//   - The longest that anyone takes, its number times its cost, is as short as
//     whole shards allow. So the numbers of workers of equal cost differ by at most 1.
//   - Everyone has at least one, if there are enough: who has none can't be seen to
//     have become faster.
//   - One who is away has no more than it owns, unless all are.
//   - Of workers for whom one more shard would end at the same time it goes to who
//     owns most now, of equals to the first.
//
// That is what giving the shards out one by one comes to, each to who would be
// done with it first. It begins where this can't yet have come to an end.
func apportion(workers []worker, n int) []int {
	most := func(w worker) int { return n }
	if slices.ContainsFunc(workers, func(w worker) bool { return !w.away }) {
		most = func(w worker) int {
			if w.away {
				return len(w.has)
			}
			return n
		}
	}
	order := make([]int, len(workers))
	takers, speed, slowest := 0, 0.0, 0.0
	for i, w := range workers {
		order[i] = i
		if most(w) > 0 {
			takers, speed, slowest = takers+1, speed+1/w.cost, max(slowest, w.cost)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(workers[b].has), len(workers[a].has)) })

	least := one(n >= takers)
	number := make([]int, len(workers))
	// In this time no more than n shards can be done, though everyone has one. Less a
	// little, since it is rounded.
	time := float64(n) / speed * (1 - 1e-9)
	if time < slowest {
		time = float64(n-least*takers) / speed * (1 - 1e-9)
	}
	q := make(queue, 0, len(workers))
	left := n
	for rank, i := range order {
		w := workers[i]
		number[i] = min(max(least, int(time/w.cost)), most(w))
		left -= number[i]
		if number[i] < most(w) {
			q = append(q, turn{w.cost * float64(number[i]+1), rank})
		}
	}
	heap.Init(&q)
	for ; left > 0; left-- {
		i := order[q[0].rank]
		number[i]++
		if q[0].end = workers[i].cost * float64(number[i]+1); number[i] < most(workers[i]) {
			heap.Fix(&q, 0)
		} else {
			heap.Pop(&q)
		}
	}
	return number
}

func one(yes bool) int {
	if yes {
		return 1
	}
	return 0
}

// turn is a worker who may be given one more shard, and when it would end with it.
type turn struct {
	end  float64
	rank int
}

// queue has the worker that would end first at its head, of equals the first by rank.
type queue []turn

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(q[i].end, q[j].end), cmp.Compare(q[i].rank, q[j].rank)) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(turn)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
