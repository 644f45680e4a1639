package paramserver

import (
	"github.com/muster-train/muster/model/params"
)

// Window gathers the steps of a job with relaxed synchronisation, several at a
// time: those from the lowest that is not whole up to an end, of which at most so
// many may be ahead of the lowest as the job allows. Each contribution is applied
// by itself, as soon as it counts. Like Round it is a pure state machine, and not
// safe for concurrent use.
//
// A sum over several shards can't be applied in part, so it counts only where none
// of its shards has counted before. Next asks for work such that this is so unless
// shards have moved meanwhile.
type Window struct {
	low, end params.Step
	ahead    int // steps that may be ahead of low; negative: any number
	shards   int
	chunks   int
	images   func(params.Step) []int // by shard

	steps   []*openStep // from low on, as far as anybody has come
	asked   params.Step // one more than the highest step that Next has named
	counted params.Step // one more than the highest step of which anything has counted
	most    int         // steps that Next has been ahead of low, at most
	refused map[refusal]int
}

// openStep is what has counted of a step.
type openStep struct {
	images  []int    // by shard; 0: nothing is expected of it
	counted [][]bool // by chunk and shard
	left    []int    // by shard: chunks it has not counted in
	tallies []Tally  // by shard; Images 0: not in yet
	waiting int      // shards with images that have not finished
}

type refusal struct {
	step params.Step
	attempt
}

// NewWindow expects the steps from first up to end, end excluded: of every shard s
// with images(step)[s] > 0 a tally of so many images, and a contribution to each of
// the chunks.
func NewWindow(first, end params.Step, ahead, shards, chunks int, images func(params.Step) []int) *Window {
	return &Window{low: first, end: end, ahead: ahead, shards: shards, chunks: chunks, images: images, asked: first, counted: first, refused: map[refusal]int{}}
}

// Complete tells whether all steps have become whole.
func (w *Window) Complete() bool { return w.low >= w.end }

// Ahead is how many steps the fastest has been asked for beyond the lowest, at most.
func (w *Window) Ahead() int { return w.most }

// EndAsked lets no step begin that nobody has been asked for yet.
func (w *Window) EndAsked() { w.end = min(w.end, w.asked) }

// EndCounted lets no step begin of which nothing has counted yet.
func (w *Window) EndCounted() { w.end = min(w.end, max(w.counted, w.low)) }

// Next says what a worker that owns some shards is to be asked for: a step, and
// which of its shards. ok is false where there is nothing for it to do at present.
//
// It is the lowest step that one of them has not finished. Shards of which nothing
// has counted are computed together; one that has counted in part, as one of a
// worker that died, by itself: what counts of it then is what was missing.
func (w *Window) Next(shards []int) (step params.Step, of []int, ok bool) {
	for step = w.low; w.has(step); step++ {
		o := w.open(step)
		fresh, part := false, -1
		of = of[:0]
		for _, s := range shards {
			switch {
			case o.finished(s):
				if o.images[s] == 0 {
					of = append(of, s) // adds nothing, and may make one node of two
				}
			case o.left[s] == w.chunks:
				fresh = true
				of = append(of, s)
			case part < 0:
				part = s
			}
		}
		if !fresh && part >= 0 {
			of = append(of[:0], part)
		}
		if fresh || part >= 0 {
			w.asked = max(w.asked, step+1)
			w.most = max(w.most, int(step-w.low))
			return step, of, true
		}
	}
	return 0, nil, false
}

// Offer decides on the contribution (step, node, chunk). One that counts is to be
// applied, in the order in which they count.
func (w *Window) Offer(step params.Step, node params.Node, chunk int) Verdict {
	switch {
	case step < w.low:
		return Stale
	case !w.has(step):
		return Future
	case chunk < 0 || chunk >= w.chunks || !node.Valid(w.shards):
		return Malformed
	}
	o := w.open(step)
	has, lacks := false, false
	for s := node.First; s < node.End; s++ {
		if o.images[s] > 0 {
			has = has || o.counted[chunk][s]
			lacks = lacks || !o.counted[chunk][s]
		}
	}
	switch {
	case !lacks:
		return Repeated
	case has:
		return Mixed
	}
	for s := node.First; s < node.End; s++ {
		if o.images[s] > 0 {
			o.counted[chunk][s] = true
			o.left[s]--
			o.settle(s)
		}
	}
	w.counted = max(w.counted, step+1)
	return Counted
}

// OfferTally counts the tally of a shard.
func (w *Window) OfferTally(step params.Step, t Tally) Verdict {
	switch {
	case step < w.low:
		return Stale
	case !w.has(step):
		return Future
	}
	o := w.open(step)
	switch {
	case t.Shard < 0 || t.Shard >= w.shards || t.Images != o.images[t.Shard]:
		return Malformed
	case t.Images == 0 || o.tallies[t.Shard].Images > 0:
		return Repeated
	}
	o.tallies[t.Shard] = t
	o.settle(t.Shard)
	w.counted = max(w.counted, step+1)
	return Counted
}

// Pop takes the lowest step out if it is whole: every shard with images has
// tallied, and counted in every chunk. It returns the sum of the tallies, in the
// order of the shards.
func (w *Window) Pop() (sum Tally, ok bool) {
	if w.Complete() || w.open(w.low).waiting > 0 {
		return Tally{}, false
	}
	sum = sumOf(w.steps[0].tallies)
	w.steps = w.steps[1:]
	w.low++
	for r := range w.refused {
		if r.step < w.low {
			delete(w.refused, r)
		}
	}
	return sum, true
}

// Refuse notes that a contribution was refused because it is not finite, and
// returns how often that has happened to it: 0 where the window expects none of that
// name. Chunk -1 is the tally.
func (w *Window) Refuse(step params.Step, node params.Node, chunk int) int {
	if !w.has(step) || !node.Valid(w.shards) || chunk < -1 || chunk >= w.chunks {
		return 0
	}
	r := refusal{step, attempt{node, chunk}}
	w.refused[r]++
	return w.refused[r]
}

// Images returns the number of images of a node's shards at a step.
func (w *Window) Images(step params.Step, node params.Node) int {
	n := 0
	for _, i := range w.open(step).images[node.First:node.End] {
		n += i
	}
	return n
}

// has tells whether a step may be worked on.
func (w *Window) has(step params.Step) bool {
	return step >= w.low && step < w.end && (w.ahead < 0 || step-w.low <= params.Step(w.ahead))
}

// open is a step that may be worked on.
func (w *Window) open(step params.Step) *openStep {
	for i := len(w.steps); i <= int(step-w.low); i++ {
		o := &openStep{
			images: w.images(w.low + params.Step(i)), counted: make([][]bool, w.chunks), left: make([]int, w.shards), tallies: make([]Tally, w.shards),
		}
		for chunk := range o.counted {
			o.counted[chunk] = make([]bool, w.shards)
		}
		for s, n := range o.images {
			if n > 0 {
				o.left[s] = w.chunks
				o.waiting++
			}
		}
		w.steps = append(w.steps, o)
	}
	return w.steps[step-w.low]
}

// finished tells whether nothing more is expected of a shard.
func (o *openStep) finished(s int) bool {
	return o.images[s] == 0 || o.left[s] == 0 && o.tallies[s].Images > 0
}

// settle notes that a shard has finished, if it has by what counted just now.
func (o *openStep) settle(s int) {
	if o.finished(s) {
		o.waiting--
	}
}
