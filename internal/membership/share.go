package membership

import (
	"cmp"
	"slices"
)

// share gives the free shards to the workers, named in order of arrival, in
// numbers that differ by at most 1. Each worker keeps as much of what it owned
// before as its number allows, which makes the moves the fewest possible.
func share(owner, before []string, free []int, workers []string) {
	had := make(map[string][]bool, len(workers)) // by worker: the free shards it owned
	for _, id := range workers {
		had[id] = make([]bool, len(owner))
	}
	pool := make([]bool, len(owner)) // shards to be given out
	count := make(map[string]int, len(workers))
	for _, s := range free {
		if set, ok := had[before[s]]; ok {
			set[s] = true
			count[before[s]]++
		} else {
			pool[s] = true
		}
	}
	target := targets(count, len(free), workers)

	for _, id := range workers {
		for count[id] > target[id] {
			given := pick(had[id], count[id]-target[id], true, nil)
			for s := given.first; s < given.end; s++ {
				had[id][s], pool[s] = false, true
			}
			count[id] -= given.len()
		}
		for s, has := range had[id] {
			if has {
				owner[s] = id
			}
		}
	}

	// Those who lack most choose first, while whole subtrees are left.
	hungry := slices.Clone(workers)
	slices.SortStableFunc(hungry, func(a, b string) int {
		return cmp.Compare(target[b]-count[b], target[a]-count[a])
	})
	for _, id := range hungry {
		for count[id] < target[id] {
			taken := pick(pool, target[id]-count[id], false, had[id])
			for s := taken.first; s < taken.end; s++ {
				pool[s], had[id][s], owner[s] = false, true, id
			}
			count[id] += taken.len()
		}
	}
}

// targets returns how many of n shards each worker is to own. The numbers
// differ by at most 1; the larger go to those who own that many already, then to
// those who own most, of equals to the first that joined.
func targets(count map[string]int, n int, workers []string) map[string]int {
	order := slices.Clone(workers)
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(count[b], count[a]) })
	target := make(map[string]int, len(order))
	for i, id := range order {
		target[id] = n / len(order)
		if i < n%len(order) {
			target[id]++
		}
	}
	return target
}

// subtree is a node of the binary tree over shards: its place there is span
// wide, a power of two, and it has the shards [first, end), cut at their number.
type subtree struct{ first, end, span int }

func (t subtree) len() int { return t.end - t.first }

// within tells whether set has all shards of t.
func (t subtree) within(set []bool) bool {
	return !slices.Contains(set[t.first:t.end], false)
}

// half returns the left or right half of t, which must have more than one
// shard. Where the right one has none, it is the left.
func (t subtree) half(right bool) subtree {
	mid := t.first + t.span/2
	if right && mid < t.end {
		return subtree{mid, t.end, t.span / 2}
	}
	return subtree{t.first, min(mid, t.end), t.span / 2}
}

// sibling returns the other half of t's parent in a tree of n shards; it may
// have none.
func (t subtree) sibling(n int) subtree {
	first := t.first ^ t.span
	return subtree{min(first, n), min(first+t.span, n), t.span}
}

// cover returns the largest subtrees of t all of whose shards are in set, in
// ascending order.
func cover(set []bool, t subtree) []subtree {
	if t.within(set) {
		return []subtree{t}
	}
	if t.len() == 1 {
		return nil
	}
	left, right := t.half(false), t.half(true)
	nodes := cover(set, left)
	if right != left {
		nodes = append(nodes, cover(set, right)...)
	}
	return nodes
}

// pick returns a subtree of at most k shards, k >= 1, all in set, which must not
// be empty: one whose sibling is in have, else the largest that does not break a
// larger one of set, else a part of the smallest that has to be broken. Of
// equals it is the last or the first.
func pick(set []bool, k int, last bool, have []bool) subtree {
	root := subtree{0, len(set), 1}
	for root.span < len(set) {
		root.span *= 2
	}
	nodes := cover(set, root)
	if last {
		slices.Reverse(nodes)
	}
	meets := func(t subtree) bool {
		sibling := t.sibling(len(set))
		return have != nil && sibling.len() > 0 && sibling.within(have)
	}
	slices.SortStableFunc(nodes, func(a, b subtree) int {
		fitsA, fitsB := a.len() <= k, b.len() <= k
		switch {
		case fitsA != fitsB:
			return yesFirst(fitsA, fitsB)
		case !fitsA:
			return cmp.Compare(a.len(), b.len())
		}
		return cmp.Or(yesFirst(meets(a), meets(b)), cmp.Compare(b.len(), a.len()))
	})
	node := nodes[0]
	for node.len() > k {
		node = node.half(last)
	}
	return node
}

// yesFirst orders true before false.
func yesFirst(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}
