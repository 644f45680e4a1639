package membership

import (
	"cmp"
	"slices"
)

// Assign says who owns which of a job's shards now, given who did before and
// who is there. It tells whether anything changed; only then the number is one
// more than that of prev.
//
//   - A shard to which live members are pinned belongs to the one of them that
//     joined first, and is never given to anyone else. A worker pinned to a
//     shard beyond the job's gets nothing.
//   - A shard whose pinned worker was lost waits, owned by nobody, until
//     handover(shard) says that its time has passed. Then it becomes free; it
//     goes back when its pinned worker returns.
//   - Free shards are shared among the unpinned workers such that the slowest is
//     done as early as whole shards allow: where a shard costs all the same, in
//     numbers that differ by at most 1. As few as possible move away from live
//     owners; those that must move go where siblings of the binary tree over
//     shards come together.
//   - Who is away keeps what it owns, or some of it. It is given nothing more, not
//     even the shard it is pinned to, while anyone else can take that: were its
//     lease to run out, what moved there would have been without a worker twice.
//   - With no unpinned worker, a free shard stays with its live owner; without
//     one it waits until handover(shard) says that its time has passed, and is
//     then given to the live worker that owns least, of several the first that
//     joined.
//
// handover may be nil: no time has passed. It is asked only for shards that
// wait. Assign does not change or keep its arguments; equal arguments give equal
// results, whatever the order of members.
func Assign(prev Assignment, members []Candidate, shards int, handover func(shard int) bool) (next Assignment, changed bool) {
	before := prev.resized(shards)
	next = Assignment{Number: prev.Number, Owner: make([]string, shards), Pinned: make([]bool, shards)}
	live := slices.DeleteFunc(slices.Clone(members), func(m Candidate) bool { return m.Pinned >= shards })
	slices.SortFunc(live, func(a, b Candidate) int { return byArrival(a.Member, b.Member) })

	home := make([]string, shards) // by shard: the member pinned to it
	var unpinned []worker
	for _, m := range live {
		switch {
		case m.Pinned < 0:
			unpinned = append(unpinned, worker{id: m.ID, cost: m.cost(), away: m.Away})
		case home[m.Pinned] == "" && (!m.Away || before.Owner[m.Pinned] == m.ID):
			home[m.Pinned] = m.ID
		}
	}

	var free []int
	for s := range shards {
		switch {
		case home[s] != "":
			next.Owner[s], next.Pinned[s] = home[s], true
		case before.Pinned[s] && (len(live) == 0 || handover == nil || !handover(s)):
			next.Pinned[s] = true
		default:
			free = append(free, s)
		}
	}
	if len(unpinned) > 0 {
		share(next.Owner, before.Owner, free, unpinned)
	} else {
		handOver(next.Owner, before, free, live, handover)
	}

	if slices.Equal(next.Owner, before.Owner) && slices.Equal(next.Pinned, before.Pinned) {
		return next, false
	}
	next.Number++
	return next, true
}

// resized returns a with exactly the given number of shards; those it did not
// have are owned by nobody.
func (a Assignment) resized(shards int) Assignment {
	owner, pinned := make([]string, shards), make([]bool, shards)
	copy(owner, a.Owner)
	copy(pinned, a.Pinned)
	return Assignment{Number: a.Number, Owner: owner, Pinned: pinned}
}

// handOver leaves the free shards with their live owners and gives those whose
// time has passed to whoever owns least, and is not away. Here live members are pinned to other
// shards, or spare. A shard pinned before is free because its time has passed.
func handOver(owner []string, before Assignment, free []int, live []Candidate, handover func(int) bool) {
	load := make(map[string]int, len(live))
	for _, m := range live {
		load[m.ID] = 0
	}
	for _, id := range owner {
		if id != "" {
			load[id]++
		}
	}
	var waiting []int
	for _, s := range free {
		id := before.Owner[s]
		if _, lives := load[id]; lives && !before.Pinned[s] {
			owner[s] = id
			load[id]++
			continue
		}
		waiting = append(waiting, s)
	}
	if there := slices.DeleteFunc(slices.Clone(live), func(m Candidate) bool { return m.Away }); len(there) > 0 {
		live = there
	}
	if len(live) == 0 {
		return
	}
	for _, s := range waiting {
		if !before.Pinned[s] && (handover == nil || !handover(s)) {
			continue
		}
		// MinFunc returns the first of equals: the first that joined.
		least := slices.MinFunc(live, func(a, b Candidate) int { return cmp.Compare(load[a.ID], load[b.ID]) })
		owner[s] = least.ID
		load[least.ID]++
	}
}
