package cpu

import (
	"fmt"
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// run evaluates a program over strings, and returns the deepest stack.
func (t *sums) run(node int) (sum string, depth int) {
	var stack []string
	for _, step := range t.program(node) {
		if step == addTop {
			n := len(stack)
			stack = append(stack[:n-2], "("+stack[n-2]+"+"+stack[n-1]+")")
			continue
		}
		stack = append(stack, fmt.Sprint(t.spans[step].shard))
		depth = max(depth, len(stack))
	}
	if len(stack) == 0 {
		return "", 0
	}
	return stack[0], depth
}

func TestProgramsFollowTheTree(t *testing.T) {
	for _, tc := range []struct {
		images []int // of shards 0, 1, ...
		node   params.Node
		want   string
	}{
		{[]int{1, 1, 1, 1}, params.Root(4), "((0+1)+(2+3))"},
		{[]int{1, 1, 1, 1, 1}, params.Root(5), "(((0+1)+(2+3))+4)"},
		{[]int{1, 1, 1, 1, 1}, params.Node{First: 4, End: 5}, "4"},
		{[]int{1, 0, 1, 1}, params.Root(4), "(0+(2+3))"},
		{[]int{0, 0, 1, 1}, params.Root(4), "(2+3)"},
		{[]int{0, 1, 0, 1}, params.Root(4), "(1+3)"},
		{[]int{0, 1, 0, 1}, params.Node{First: 2, End: 4}, "3"},
		{[]int{0, 0, 0, 1}, params.Node{First: 0, End: 2}, ""},
		{nil, params.Root(4), ""},
		{[]int{5, 0, 0, 0, 7, 0, 3}, params.Root(7), "(0+(4+6))"},
	} {
		b := &device.Batch{Nodes: []params.Node{params.Leaf(9), tc.node}}
		for s, n := range tc.images {
			b.Shards = append(b.Shards, device.ShardImages{Shard: s, Images: n})
		}
		s := newSums(device.Options{Images: 20, Nodes: 2})
		s.plan(b)
		if got, _ := s.run(1); got != tc.want {
			t.Errorf("images %v: node %v is %s, want %s", tc.images, tc.node, got, tc.want)
		}
		if got, _ := s.run(0); got != "" {
			t.Errorf("images %v: node without images is %s", tc.images, got)
		}
	}
}

func TestStackIsAsDeepAsSaid(t *testing.T) {
	// The worst there is: each shard alone in the right half of what is left.
	b := &device.Batch{Nodes: []params.Node{params.Root(1 << 20)}}
	images := 0
	for bit := 19; bit >= 0; bit-- {
		b.Shards = append(b.Shards, device.ShardImages{Shard: 1<<20 - 2<<bit, Images: 1})
		images++
	}
	s := newSums(device.Options{Images: images, Nodes: 1})
	s.plan(b)
	if _, depth := s.run(0); depth > stackDepth(images) || depth < 15 {
		t.Errorf("stack of %d sums, want at most %d", depth, stackDepth(images))
	}
}

func TestSpansCountImages(t *testing.T) {
	s := newSums(device.Options{Images: 9, Nodes: 1})
	s.plan(&device.Batch{Shards: []device.ShardImages{{Shard: 2, Images: 3}, {Shard: 4}, {Shard: 7, Images: 6}}})
	if got, want := fmt.Sprint(s.spans), "[{2 0 3} {7 3 9}]"; got != want {
		t.Errorf("spans %s, want %s", got, want)
	}
}
