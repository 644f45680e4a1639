package paramserver

import (
	"slices"

	"github.com/muster-train/muster/model/params"
)

// Verdict is what became of an offered contribution.
type Verdict int

// The verdicts.
const (
	Counted   Verdict = iota // it counts from now on
	Repeated                 // its shards have counted already, or have no images
	Stale                    // its step has been applied
	Future                   // its step has not begun
	Malformed                // it names no node or chunk of this job
	Mixed                    // some of its shards have counted and others have not: of a Window alone
)

// Outcome says what to do with the values of an offered contribution. Values
// that wait for others are kept in slots, numbered from 0 in each chunk; a slot
// freed by one outcome may be given out by the same one.
type Outcome struct {
	Verdict Verdict
	// Drop lists slots whose values the contribution contains: they are freed.
	Drop []int
	// Add lists slots to add to the values, in this order; they are freed.
	Add []int
	// Complete tells that the values are now the sum over all shards of the
	// chunk. Otherwise they are to be kept in Slot.
	Complete bool
	Slot     int
}

// Round gathers one piece of work from all shards: a tally from each that has
// images, and their gradients, chunk by chunk. It is a pure state machine: no
// clock, no goroutine, no I/O. It is not safe for concurrent use.
type Round struct {
	step   params.Step
	shards int
	images []int // by shard; 0: nothing is expected of it

	chunks     []gathering
	unfinished int // chunks that are not complete

	tallies []Tally // by shard; Images 0: not in yet
	awaited int     // tallies that are not in yet

	refused   map[attempt]int
	add, drop []int // reused by Offer
}

// gathering is the state of one chunk: which nodes have counted and wait for
// their siblings, in no particular order. No held node contains another, and no
// two are siblings. A node whose sibling has no images is held as its parent.
type gathering struct {
	held     []held
	free     []int // slots that were taken and given back
	slots    int   // slots taken so far
	complete bool
}

type held struct {
	node params.Node
	slot int
}

type attempt struct {
	node  params.Node
	chunk int
}

// Tally is what one shard's forward passes add up to.
type Tally struct {
	Shard, Images int
	Loss          float64 // sum over the images
	Top1, Top5    int
}

// NewRound expects, of every shard s with images[s] > 0, a tally of so many
// images and a contribution to each of the chunks; 0 chunks for an evaluation.
func NewRound(step params.Step, images []int, chunks int) *Round {
	r := &Round{
		step:       step,
		shards:     len(images),
		images:     images,
		chunks:     make([]gathering, chunks),
		unfinished: chunks,
		tallies:    make([]Tally, len(images)),
		refused:    map[attempt]int{},
	}
	for _, n := range images {
		if n > 0 {
			r.awaited++
		}
	}
	return r
}

// Skip expects no contribution to a chunk: it is gathered elsewhere.
func (r *Round) Skip(chunk int) {
	if g := &r.chunks[chunk]; !g.complete {
		g.complete = true
		r.unfinished--
	}
}

// Complete tells whether every shard with images has counted everywhere.
func (r *Round) Complete() bool { return r.unfinished == 0 && r.awaited == 0 }

// Awaits tells whether a shard has yet to count: its tally, or its part of a chunk.
func (r *Round) Awaits(shard int) bool {
	if r.images[shard] == 0 {
		return false
	}
	return r.tallies[shard].Images == 0 || slices.ContainsFunc(r.chunks, func(g gathering) bool {
		return !g.complete && !slices.ContainsFunc(g.held, func(h held) bool { return h.node.Has(shard) })
	})
}

// Images returns the number of images of all shards.
func (r *Round) Images() int {
	n := 0
	for _, i := range r.images {
		n += i
	}
	return n
}

// Offer decides on the contribution (step, node, chunk). The slices of the
// outcome are valid until the next call.
func (r *Round) Offer(step params.Step, node params.Node, chunk int) Outcome {
	switch {
	case step < r.step:
		return Outcome{Verdict: Stale}
	case step > r.step:
		return Outcome{Verdict: Future}
	case chunk < 0 || chunk >= len(r.chunks) || !node.Valid(r.shards):
		return Outcome{Verdict: Malformed}
	}
	g := &r.chunks[chunk]
	if g.complete || r.empty(node) || slices.ContainsFunc(g.held, func(h held) bool { return h.node.Contains(node) }) {
		return Outcome{Verdict: Repeated}
	}

	r.add, r.drop = r.add[:0], r.drop[:0]
	g.held = slices.DeleteFunc(g.held, func(h held) bool {
		contained := node.Contains(h.node)
		if contained {
			r.drop = append(r.drop, h.slot)
			g.free = append(g.free, h.slot)
		}
		return contained
	})
	// Climb as far as siblings are there, or have nothing to give.
	for {
		parent, sibling, ok := node.Parent(r.shards)
		if !ok {
			g.complete = true
			r.unfinished--
			return Outcome{Verdict: Counted, Drop: r.drop, Add: r.add, Complete: true}
		}
		if !r.empty(sibling) {
			i := slices.IndexFunc(g.held, func(h held) bool { return h.node == sibling })
			if i < 0 {
				break
			}
			r.add = append(r.add, g.held[i].slot)
			g.free = append(g.free, g.held[i].slot)
			g.held = slices.Delete(g.held, i, i+1)
		}
		node = parent
	}
	slot := g.takeSlot()
	g.held = append(g.held, held{node, slot})
	return Outcome{Verdict: Counted, Drop: r.drop, Add: r.add, Slot: slot}
}

// OfferTally counts the tally of a shard. A repeat is told apart by the shard
// alone: its values are the same, since they are a pure function of the step.
func (r *Round) OfferTally(step params.Step, t Tally) Verdict {
	switch {
	case step < r.step:
		return Stale
	case step > r.step:
		return Future
	case t.Shard < 0 || t.Shard >= r.shards || t.Images != r.images[t.Shard]:
		return Malformed
	case t.Images == 0 || r.tallies[t.Shard].Images > 0:
		return Repeated
	}
	r.tallies[t.Shard] = t
	r.awaited--
	return Counted
}

// Refuse notes that a contribution of this round was refused because it is not
// finite, and returns how often that has happened to it: 0 where the round expects none
// of that name. Chunk -1 is the tally.
func (r *Round) Refuse(node params.Node, chunk int) int {
	if !node.Valid(r.shards) || chunk < -1 || chunk >= len(r.chunks) {
		return 0
	}
	a := attempt{node, chunk}
	r.refused[a]++
	return r.refused[a]
}

// Sum adds the tallies of all shards, in the order of their numbers.
func (r *Round) Sum() Tally { return sumOf(r.tallies) }

func sumOf(tallies []Tally) Tally {
	var sum Tally
	for _, t := range tallies {
		sum.Images += t.Images
		sum.Loss += t.Loss
		sum.Top1 += t.Top1
		sum.Top5 += t.Top5
	}
	return sum
}

// empty tells whether no shard of d has images.
func (r *Round) empty(d params.Node) bool {
	for _, n := range r.images[d.First:d.End] {
		if n > 0 {
			return false
		}
	}
	return true
}

func (g *gathering) takeSlot() int {
	if n := len(g.free); n > 0 {
		slot := g.free[n-1]
		g.free = g.free[:n-1]
		return slot
	}
	g.slots++
	return g.slots - 1
}
