package membership

import "time"

// Presence is what the leader knows of a worker beside its key in etcd.
type Presence struct {
	Known     bool      // it has been connected to this leader, and has not left for good since
	Connected bool      // it is at present
	Lost      time.Time // since when a known worker has not been connected; zero: it is, or was never
}

// Candidate is a member that may own shards.
type Candidate struct {
	Member
	Away bool    // it is not connected at present
	Cost float64 // time that it takes for a shard, in a unit common to all; 0: 1
}

func (c Candidate) cost() float64 {
	if c.Cost > 0 {
		return c.Cost
	}
	return 1
}

// Candidates returns the members that may own shards: the known ones, but for
//
//   - who has not been connected for the grace, though its lease lives on: it
//     can't reach the leader;
//   - who is not connected while another with the same pin is.
//
// It asks presence once for each member.
func Candidates(members []Member, presence func(id string) Presence, now time.Time, grace time.Duration) []Candidate {
	seen := make([]Presence, len(members))
	taken := map[int]bool{} // by pin: someone with it is connected
	for i, m := range members {
		seen[i] = presence(m.ID)
		if m.Pinned >= 0 && seen[i].Connected {
			taken[m.Pinned] = true
		}
	}
	var candidates []Candidate
	for i, m := range members {
		p := seen[i]
		away := !p.Lost.IsZero() && now.Sub(p.Lost) >= grace
		if p.Known && !away && (p.Connected || !taken[m.Pinned]) {
			candidates = append(candidates, Candidate{Member: m, Away: !p.Connected})
		}
	}
	return candidates
}

// Urgent tells whether next can't wait for the end of a step: it gives a shard to
// somebody else that nobody works on now. A worker works if it is a member, known
// and connected.
func Urgent(now, next Assignment, members []Member, presence func(id string) Presence) bool {
	works := make(map[string]bool, len(members))
	for _, m := range members {
		p := presence(m.ID)
		works[m.ID] = p.Known && p.Connected
	}
	for s, owner := range now.Owner {
		if !works[owner] && next.Owner[s] != owner {
			return true
		}
	}
	return false
}

// Vigil keeps since when nobody has owned a shard. The zero Vigil knows of none.
type Vigil struct {
	since map[int]time.Time
}

// Note takes in which shards nobody owns now, and returns how long it is until the
// first of them has waited for timeout; ok is false where none waits.
func (v *Vigil) Note(unowned []int, now time.Time, timeout time.Duration) (first time.Duration, ok bool) {
	before := v.since
	v.since = make(map[int]time.Time, len(unowned))
	for _, s := range unowned {
		since, waits := before[s]
		if !waits {
			since = now
		}
		v.since[s] = since
		if left := max(0, since.Add(timeout).Sub(now)); !ok || left < first {
			first, ok = left, true
		}
	}
	return first, ok
}

// Over returns which shards have waited for timeout, as Assign asks for it.
func (v *Vigil) Over(now time.Time, timeout time.Duration) func(shard int) bool {
	return func(shard int) bool {
		since, waits := v.since[shard]
		return waits && now.Sub(since) >= timeout
	}
}
