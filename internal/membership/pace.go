package membership

import (
	"math"
	"slices"
	"time"
)

// PaceConfig says when a worker counts as slower, or faster, than others.
type PaceConfig struct {
	Factor   float64       // by which its time must be longer, or shorter, than that of others; above 1.25
	Steps    int           // one after the other, in each of which it must be
	Duration time.Duration // for which it must have been
	Pause    time.Duration // after a change until the next
}

// DefaultPaceConfig is what the parameter server uses.
func DefaultPaceConfig() PaceConfig {
	return PaceConfig{Factor: 1.5, Steps: 8, Duration: 10 * time.Second, Pause: 30 * time.Second}
}

// normal is the factor within which a worker is as fast as others: one that was
// slower has recovered.
const normal = 1.25

// Load is what a step was for one worker.
type Load struct {
	Seconds float64 // it computed
	Images  int     // of which it computed gradients
	Shards  int     // it owns
}

// Pace learns from the steps of a job which workers are persistently slower or
// faster than others, and what a shard therefore costs each of them. It is pure: the
// same steps at the same times give the same costs. It is not safe for concurrent use.
//
// A worker's cost is changed only where in each of so many steps one after the other,
// and for so long, both its time for an image and its time for all its shards were
// longer than those of others by a clear factor; or both shorter. A worker whose
// overhead is large beside its images has a long time for an image where it owns
// few shards, and one with many shards a long time in all: neither is slow. Others
// are the median, of times for an image over the costs so far. A single slow step
// changes nothing, noise of a fifth doesn't, and after a change there is a pause.
//
// Costs are powers of the fourth root of 2, 1 in the median, so that equal workers
// have equal costs. They are told by membership alone: the bits of a synchronous job
// don't depend on who owns what.
type Pace struct {
	cfg     PaceConfig
	workers map[string]*pace
	quiet   time.Time // no change before this
}

// pace is what is known of one worker.
type pace struct {
	quarters int       // four times the binary logarithm of its cost
	run      []float64 // what its cost is to be multiplied by, by each of the latest steps that agree
	verdict  verdict   // that they agree on
	since    time.Time // of the first of them
	recent   []float64 // its time for an image over that of others, of the newest steps
}

type verdict int

const (
	asBefore verdict = iota
	slower
	faster
	recovered // it was slower or faster, and is as others are
)

// NewPace knows no worker yet.
func NewPace(cfg PaceConfig) *Pace {
	return &Pace{cfg: cfg, workers: map[string]*pace{}}
}

// Cost is what a shard costs a worker, as a multiple of what it costs others.
func (p *Pace) Cost(id string) float64 {
	if w := p.workers[id]; w != nil {
		return costOf(w.quarters)
	}
	return 1
}

// Speed is how fast a worker has computed an image in the newest steps, as a multiple
// of how fast others have; 0: not known.
func (p *Pace) Speed(id string) float64 {
	if w := p.workers[id]; w != nil && len(w.recent) > 0 {
		return 1 / middle(w.recent)
	}
	return 0
}

// Straggler tells whether a worker is persistently slower than others.
func (p *Pace) Straggler(id string) bool {
	w := p.workers[id]
	return w != nil && w.quarters > 0
}

// Keep forgets all workers but these.
func (p *Pace) Keep(members []Member) {
	for id := range p.workers {
		if !slices.ContainsFunc(members, func(m Member) bool { return m.ID == id }) {
			delete(p.workers, id)
		}
	}
}

// Step takes in what a step was for the workers that took part, and tells whether
// costs have changed.
func (p *Pace) Step(now time.Time, loads map[string]Load) bool {
	var ids []string
	var each, whole []float64 // time for an image over the cost; for all shards
	for id, l := range loads {
		if l.Seconds > 0 && l.Images > 0 && l.Shards > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	for id, w := range p.workers {
		if !slices.Contains(ids, id) {
			w.forget() // its steps don't follow each other
		}
	}
	for _, id := range ids {
		l := loads[id]
		image := l.Seconds / float64(l.Images)
		each = append(each, image/p.Cost(id))
		whole = append(whole, image*float64(l.Shards))
	}
	if len(ids) < 2 {
		return false
	}
	others, all := middle(each), middle(whole)
	due := false
	for i, id := range ids {
		w := p.workers[id]
		if w == nil {
			w = &pace{}
			p.workers[id] = w
		}
		w.note(now, p.cfg, each[i]/others, whole[i]/all)
		due = due || w.due(now, p.cfg)
	}
	if !due || now.Before(p.quiet) {
		return false
	}
	changed := false
	for _, id := range ids {
		w := p.workers[id]
		if w.due(now, p.cfg) {
			changed = w.settle() || changed
			w.forget()
		}
	}
	if changed {
		p.centre()
		p.quiet = now.Add(p.cfg.Pause)
		for _, w := range p.workers {
			w.forget() // what others were seen as was by the costs of before
		}
	}
	return changed
}

// centre makes 1 the median of the costs.
func (p *Pace) centre() {
	var quarters []float64
	for _, w := range p.workers {
		quarters = append(quarters, float64(w.quarters))
	}
	m := int(middle(quarters))
	for _, w := range p.workers {
		w.quarters -= m
	}
}

// note takes in a step: each is the worker's time for an image over its cost and that
// of others, whole its time for all its shards over that of others.
func (w *pace) note(now time.Time, cfg PaceConfig, each, whole float64) {
	relative := each * costOf(w.quarters)
	if len(w.recent) >= cfg.Steps {
		w.recent = slices.Delete(w.recent, 0, 1)
	}
	w.recent = append(w.recent, relative)

	v, factor := asBefore, 1.0
	switch {
	case min(each, whole) >= cfg.Factor:
		v, factor = slower, min(each, whole)
	case max(each, whole) <= 1/cfg.Factor:
		v, factor = faster, max(each, whole)
	case w.quarters > 0 && relative <= normal && whole <= normal, w.quarters < 0 && relative >= 1/normal && whole >= 1/normal:
		v = recovered
	}
	if v != w.verdict {
		w.forget()
		w.verdict, w.since = v, now
	}
	if v != asBefore {
		w.run = append(w.run, factor)
	}
}

// due tells whether the steps of the run are enough.
func (w *pace) due(now time.Time, cfg PaceConfig) bool {
	return len(w.run) >= cfg.Steps && now.Sub(w.since) >= cfg.Duration
}

// settle changes the cost as the run says, and tells whether that is a change.
func (w *pace) settle() bool {
	before := w.quarters
	by := int(math.Round(4 * math.Log2(middle(w.run))))
	switch w.verdict {
	case recovered:
		w.quarters = 0
	case slower, faster:
		w.quarters = min(max(w.quarters+by, -mostQuarters), mostQuarters)
	}
	return w.quarters != before
}

// mostQuarters bounds costs to between 1/64 and 64.
const mostQuarters = 24

// forget ends the run.
func (w *pace) forget() {
	w.run, w.verdict = w.run[:0], asBefore
}

// costOf is 2 to the power of so many quarters.
func costOf(quarters int) float64 { return math.Exp2(float64(quarters) / 4) }

// middle is the median of some numbers, the lower one of two.
func middle(x []float64) float64 {
	sorted := slices.Sorted(slices.Values(x))
	return sorted[(len(sorted)-1)/2]
}
