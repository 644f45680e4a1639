package params

import (
	"reflect"
	"testing"
)

func TestCoverJoinsSiblings(t *testing.T) {
	for _, tc := range []struct {
		shards []int
		n      int
		want   []Node
	}{
		{[]int{0, 1, 2, 3, 4, 5, 6, 7}, 8, []Node{{0, 8}}},
		{[]int{0, 1, 2}, 8, []Node{{0, 2}, {2, 3}}},
		{[]int{1, 2}, 8, []Node{{1, 2}, {2, 3}}},
		{[]int{4, 5, 6, 7}, 8, []Node{{4, 8}}},
		{[]int{7, 6, 5}, 8, []Node{{5, 6}, {6, 8}}},
		{[]int{0, 1, 2, 3, 4}, 5, []Node{{0, 5}}},
		{[]int{4}, 5, []Node{{4, 5}}},
		{[]int{2, 3, 4}, 5, []Node{{2, 4}, {4, 5}}},
		{[]int{0, 1, 2}, 3, []Node{{0, 3}}},
		{[]int{0}, 1, []Node{{0, 1}}},
		{[]int{4, 5, 6}, 7, []Node{{4, 7}}},
		{nil, 4, nil},
	} {
		if got := Cover(tc.shards, tc.n); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("Cover(%v, %d) = %v, want %v", tc.shards, tc.n, got, tc.want)
		}
	}
}

// Every node reached from the root by halving is valid, and its parent is the
// node it was halved from: the tree is one and the same from above and below.
func TestParentsUndoHalves(t *testing.T) {
	for n := 1; n <= 40; n++ {
		leaves := 0
		var walk func(d Node)
		walk = func(d Node) {
			if !d.Valid(n) {
				t.Fatalf("n=%d: node %v is not valid", n, d)
			}
			if d.Len() == 1 {
				leaves++
				return
			}
			left, right := d.Halves()
			if left.First != d.First || left.End != right.First || right.End != d.End {
				t.Fatalf("n=%d: halves of %v are %v and %v", n, d, left, right)
			}
			for _, half := range [][2]Node{{left, right}, {right, left}} {
				parent, sibling, ok := half[0].Parent(n)
				if !ok || parent != d || sibling != half[1] {
					t.Fatalf("n=%d: Parent(%v) = %v, %v, %v; want %v, %v", n, half[0], parent, sibling, ok, d, half[1])
				}
			}
			walk(left)
			walk(right)
		}
		walk(Root(n))
		if leaves != n {
			t.Errorf("n=%d: %d leaves", n, leaves)
		}
		if _, _, ok := Root(n).Parent(n); ok {
			t.Errorf("n=%d: the root has a parent", n)
		}
	}
}

func TestNodesThatAreNotOfTheTree(t *testing.T) {
	for _, tc := range []struct {
		d Node
		n int
	}{{Node{1, 3}, 8}, {Node{0, 3}, 8}, {Node{2, 2}, 8}, {Node{-1, 1}, 8}, {Node{6, 9}, 8}, {Node{0, 4}, 3}, {Node{5, 7}, 8}, {Node{3, 1}, 8}} {
		if tc.d.Valid(tc.n) {
			t.Errorf("%v.Valid(%d) = true", tc.d, tc.n)
		}
	}
}
