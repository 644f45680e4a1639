package membership

import (
	"cmp"
	"slices"
)

// subtree is a node of the binary tree over shards: its place there is span
// wide, a power of two, and it has the shards [first, end), cut at their number.
type subtree struct{ first, end, span int }

func (t subtree) len() int { return t.end - t.first }

// shards returns those of t, in ascending order.
func (t subtree) shards() []int {
	shards := make([]int, t.len())
	for i := range shards {
		shards[i] = t.first + i
	}
	return shards
}

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

// cover returns the largest subtrees of a tree of n shards all of whose shards
// are among those given, which ascend, in ascending order.
func cover(shards []int, n int) []subtree {
	var nodes []subtree
	for _, s := range shards {
		nodes = append(nodes, subtree{s, s + 1, 1})
		for {
			last := len(nodes) - 1
			t := nodes[last]
			sibling := t.sibling(n)
			switch {
			case t.len() == n:
			case sibling.len() == 0: // the parent has no shards beside t's
				nodes[last] = subtree{t.first &^ t.span, t.end, 2 * t.span}
				continue
			case last > 0 && nodes[last-1] == sibling:
				nodes = append(nodes[:last-1], subtree{sibling.first, t.end, 2 * t.span})
				continue
			}
			break
		}
	}
	return nodes
}

// pick returns a subtree of at most k shards, k >= 1, all among those given, which
// ascend and are not none: one whose sibling is in have, else the largest that does
// not break a larger one of them, else a part of the smallest that has to be broken.
// Of equals it is the last or the first. n is the number of shards of the tree.
func pick(shards []int, n, k int, last bool, have []bool) subtree {
	nodes := cover(shards, n)
	if last {
		slices.Reverse(nodes)
	}
	meets := func(t subtree) bool {
		sibling := t.sibling(n)
		return have != nil && sibling.len() > 0 && sibling.within(have)
	}
	node := slices.MinFunc(nodes, func(a, b subtree) int { // the first of equals
		fitsA, fitsB := a.len() <= k, b.len() <= k
		switch {
		case fitsA != fitsB:
			return yesFirst(fitsA, fitsB)
		case !fitsA:
			return cmp.Compare(a.len(), b.len())
		}
		return cmp.Or(yesFirst(meets(a), meets(b)), cmp.Compare(b.len(), a.len()))
	})
	for node.len() > k {
		node = node.half(last)
	}
	return node
}

// without returns ascending shards less those of t, which are among them. It
// changes the array of shards.
func without(shards []int, t subtree) []int {
	i, _ := slices.BinarySearch(shards, t.first)
	return slices.Delete(shards, i, i+t.len())
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
