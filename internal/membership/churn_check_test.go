package membership

import (
	"math/bits"
	"slices"
	"time"
)

// check compares an assignment with the one before: it must be fair, and move as few
// shards as can.
func (c *churn) check(candidates []Candidate, next Assignment) {
	type holding struct {
		had, gave, has int // free shards
		away           bool
	}
	held := map[string]*holding{}
	var unpinned []*holding
	for _, m := range candidates {
		if m.Pinned < 0 {
			held[m.ID] = &holding{away: m.Away}
			unpinned = append(unpinned, held[m.ID])
		}
	}
	if len(unpinned) == 0 {
		return
	}
	free := 0
	for s, id := range next.Owner {
		if next.Pinned[s] {
			continue
		}
		free++
		if held[id] == nil {
			c.t.Fatalf("assignment %d gives shard %d to %q, who is not there", next.Number, s, id)
		}
		held[id].has++
		before := (*holding)(nil)
		if len(c.assignment.Owner) > 0 {
			before = held[c.assignment.Owner[s]]
		}
		if before == nil {
			c.sum.lost++
			continue
		}
		before.had++
		if c.assignment.Owner[s] != id {
			before.gave++
			c.sum.fair++
		}
	}
	// The level: what everyone has at least, but for those who are away and have less.
	allAway := !slices.ContainsFunc(unpinned, func(h *holding) bool { return !h.away })
	capped := func(h *holding, level int) int {
		if h.away && !allAway {
			return min(h.had, level)
		}
		return level
	}
	level, rest := 0, free
	for {
		sum := 0
		for _, h := range unpinned {
			sum += capped(h, level+1)
		}
		if sum > free {
			break
		}
		level, rest = level+1, free-sum
	}
	// One more goes to those who had most: no other fair sharing moves fewer.
	slices.SortFunc(unpinned, func(a, b *holding) int { return b.had - a.had })
	gave, fewest := 0, 0
	for _, h := range unpinned {
		number := capped(h, level)
		if more := capped(h, level+1) > number; more && rest > 0 {
			number++
			rest--
		}
		gave += h.gave
		fewest += max(0, h.had-number)
		if h.has < capped(h, level) || h.has > capped(h, level+1) {
			c.t.Errorf("assignment %d gives a worker %d shards, want %d or %d", next.Number, h.has, capped(h, level), capped(h, level+1))
		}
	}
	if gave != fewest {
		c.t.Errorf("assignment %d moves %d shards from workers that are there, %d would do", next.Number, gave, fewest)
	}
	c.sum.assigned++
	c.countNodes(next)
}

// countNodes adds up how many gradients travel, and how many would at least.
func (c *churn) countNodes(a Assignment) {
	owned := map[string][]int{}
	for s, id := range a.Owner {
		if !a.Pinned[s] {
			owned[id] = append(owned[id], s)
		}
	}
	for _, shards := range owned {
		c.sum.nodes += len(cover(shards, c.shards))
		// A node has a power of two of shards, but for those at the end of the tree.
		c.sum.least += bits.OnesCount(uint(len(shards)))
	}
}

// watchShards times how long shards have nobody who works on them.
func (c *churn) watchShards() {
	now := time.Now()
	for s, id := range c.assignment.Owner {
		a := &c.alone[s]
		if c.works(id) {
			if !a.since.IsZero() {
				c.found(s, now.Sub(a.since))
			}
			*a = alone{}
			continue
		}
		if a.since.IsZero() {
			a.since = now
		}
		a.pinned = a.pinned || c.assignment.Pinned[s] || id == ""
		a.cut = a.cut || c.procs[id] != nil
	}
}

// found ends the time for which nobody worked on a shard.
func (c *churn) found(s int, took time.Duration) {
	a := c.alone[s]
	limit, longest := churnLease+churnSlack, &c.sum.longest
	if a.cut {
		limit, longest = churnGrace+churnSlack, &c.sum.cut
	}
	if a.pinned {
		limit, longest = limit+churnTimeout, &c.sum.longestAtPin
	}
	*longest = max(*longest, took)
	if took > limit {
		c.t.Errorf("nobody worked on shard %d for %v, longer than %v (pinned %v, disconnected %v)", s, took, limit, a.pinned, a.cut)
	}
}

func (c *churn) report(nodes float64) {
	s := c.sum
	c.t.Logf("%d changes, %d assignments; %d shards moved from who had gone, %d for fairness, %.2f a change", s.changes, s.assigned, s.lost, s.fair, float64(s.lost+s.fair)/float64(s.changes))
	c.t.Logf("nobody worked on a shard for %v at most, %v where a connection was lost, %v of a pinned worker", s.longest, s.cut, s.longestAtPin)
	if s.changes < 50 || s.longest+s.longestAtPin == 0 {
		c.t.Errorf("%d changes, and nobody worked on a shard for %v at most: too little happened", s.changes, s.longest)
	}
	if s.least == 0 {
		return // nothing is shared
	}
	mean := float64(s.nodes) / float64(s.least)
	c.t.Logf("nodes: %.2f times the least in the mean", mean)
	if s.assigned == 0 || s.lost == 0 || s.fair == 0 && c.shards > len(c.procs) {
		c.t.Errorf("%d assignments moved %d and %d shards: too little happened", s.assigned, s.lost, s.fair)
	}
	if mean > nodes {
		c.t.Errorf("workers' shards made %.2f times as many nodes as need be, want at most %.2f", mean, nodes)
	}
}
