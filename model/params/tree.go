package params

import (
	"fmt"
	"math/bits"
	"slices"
)

// Node names a node of the fixed binary tree over the shards 0..n-1 of a job:
// the shards [First, End). A node of level l covers the shards from j*2^l to
// (j+1)*2^l, cut at n. Its halves are the two nodes of level l-1; where the
// right half lies beyond n, the node is its left half.
type Node struct{ First, End int }

// Root returns the node of all n shards.
func Root(n int) Node { return Node{0, n} }

// Leaf returns the node of one shard.
func Leaf(shard int) Node { return Node{shard, shard + 1} }

// Contains tells whether every shard of m is one of d.
func (d Node) Contains(m Node) bool { return d.First <= m.First && m.End <= d.End }

// Has tells whether shard is one of d.
func (d Node) Has(shard int) bool { return d.First <= shard && shard < d.End }

// Len returns the number of shards of d.
func (d Node) Len() int { return d.End - d.First }

// String returns the shards of d as first-last, or the one.
func (d Node) String() string {
	if d.Len() == 1 {
		return fmt.Sprint(d.First)
	}
	return fmt.Sprintf("%d-%d", d.First, d.End-1)
}

// span returns the power of two that is the width of d's place in the tree.
func (d Node) span() int {
	if d.Len() <= 1 {
		return 1
	}
	return 1 << bits.Len(uint(d.Len()-1))
}

// Valid tells whether d is a node of the tree over n shards.
func (d Node) Valid(n int) bool {
	if d.First < 0 || d.End <= d.First || d.End > n {
		return false
	}
	span := d.span()
	return d.First%span == 0 && d.End == min(d.First+span, n)
}

// Halves returns the two nodes whose sum is that of d, which must have more
// than one shard.
func (d Node) Halves() (left, right Node) {
	mid := d.First + d.span()/2
	return Node{d.First, mid}, Node{mid, d.End}
}

// Parent returns the smallest node of the tree over n shards that contains d
// and more, and the other half of it. ok is false for the root.
func (d Node) Parent(n int) (parent, sibling Node, ok bool) {
	for span := d.span(); ; span *= 2 {
		first := d.First &^ (2*span - 1)
		parent = Node{first, min(first+2*span, n)}
		if parent != d {
			break
		}
		if d.First == 0 && d.End >= n {
			return Node{}, Node{}, false
		}
	}
	left, right := parent.Halves()
	if left == d {
		return parent, right, true
	}
	return parent, left, true
}

// Cover returns the fewest nodes of the tree over n shards whose shards are
// exactly those given, in ascending order. shards need not be sorted.
func Cover(shards []int, n int) []Node {
	sorted := slices.Clone(shards)
	slices.Sort(sorted)
	var nodes []Node
	for _, s := range slices.Compact(sorted) {
		nodes = append(nodes, Leaf(s))
		for len(nodes) >= 2 {
			last, before := nodes[len(nodes)-1], nodes[len(nodes)-2]
			parent, sibling, ok := last.Parent(n)
			if !ok || sibling != before {
				break
			}
			nodes = append(nodes[:len(nodes)-2], parent)
		}
	}
	return nodes
}
