package paramserver

import (
	"context"
	"fmt"
	"slices"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/optim"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// relaxed is what the loop knows of a job with relaxed synchronisation beside its
// window.
type relaxed struct {
	begins    []uint64 // by batch: samples applied before it, since the job began, if steps were applied in order
	decided   []uint64 // by chunk: contributions that have counted in this process's life
	submitted uint64   // contributions handed to lanes in this process's life
	staleness staleness
	ahead     int          // most steps that anybody was ahead, in windows gone by
	savedAt   params.Step  // of the newest checkpoint that was submitted
	saves     []func(bool) // to be called once all is applied; false: that won't be
	ending    bool         // the job is stopped: what can't be applied any more is dropped
	torn      bool         // contributions are missing that others of their steps were applied without
}

// trainRelaxed makes steps until the state is that of one step again: at the end of
// the epoch, or where a checkpoint is due or time is up. Whatever counts meanwhile is
// applied at once.
func (s *Server) trainRelaxed(ctx context.Context) error {
	if s.deferred {
		s.reassign()
	}
	s.openWindow()
	err := s.serveWindow(ctx)
	s.closeWindow(err)
	return err
}

func (s *Server) openWindow() {
	step, samples := s.store.At()
	at := s.position(step)
	batches := s.cut.Steps()
	s.relaxed.begins = make([]uint64, batches)
	for b := at.Batch + 1; b < batches; b++ {
		samples += uint64(s.cut.Total(b - 1))
		s.relaxed.begins[b] = samples
	}
	_, s.relaxed.begins[at.Batch] = s.store.At()
	ahead := s.sync.Ahead
	if ahead == 0 {
		ahead = -1
	}
	end := step + params.Step(batches-at.Batch)
	s.window = NewWindow(step, end, ahead, int(s.job.Shards), s.network.Layout.Chunks(), func(step params.Step) []int {
		images := make([]int, s.job.Shards)
		for shard := range images {
			images[shard] = s.cut.Count(shard, s.position(step).Batch)
		}
		return images
	})
	s.at, s.rate = at, s.rateAt(step)
	s.kind, s.phase = musterv1.WorkKind_WORK_KIND_GRADIENT, "training"
	s.meter.begin(s.stalled())
	for _, worker := range sortedKeys(s.sessions) {
		s.tell(s.sessions[worker])
	}
}

// serveWindow serves events until all steps of the window are whole and applied.
func (s *Server) serveWindow(ctx context.Context) error {
	for !s.drained() {
		err := s.serveEvent(ctx)
		if err != nil && s.failure == nil {
			s.drain()
		} else if s.tooFew() {
			s.window.EndAsked() // and then wait
		}
		switch {
		case s.lanes.diverged.Load():
			return s.diverged()
		case s.failure != nil:
			return s.failure
		case err != nil:
			return err
		}
	}
	return nil
}

// drain waits for what is under way when the job is stopped: a step of which nothing
// has counted is not begun, one of which something has is made whole if that takes no
// longer than it may. Otherwise the state is of no step, and can't be saved.
func (s *Server) drain() {
	s.window.EndCounted()
	s.relaxed.ending = true
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.DrainTimeout)
	defer cancel()
	for !s.drained() {
		if err := s.takeEvent(ctx); err != nil || s.failure != nil || s.lanes.diverged.Load() {
			s.relaxed.torn = true
			step, _ := s.store.At()
			s.cfg.Log.Warn("steps under way did not become whole: what was applied of them is not saved", "step", uint64(step), "waited", s.cfg.DrainTimeout)
			return
		}
	}
}

// closeWindow forgets the window, and sees to checkpoints that were asked for.
func (s *Server) closeWindow(err error) {
	s.relaxed.ahead = max(s.relaxed.ahead, s.window.Ahead())
	saves := s.relaxed.saves
	s.relaxed.saves, s.window = nil, nil
	for _, save := range saves {
		save(err == nil)
	}
}

// drained tells whether all steps of the window are whole, and applied.
func (s *Server) drained() bool {
	return s.window.Complete() && s.lanes.alone.Load() == s.relaxed.submitted
}

// diverged is the error that ends a job whose parameters would not be finite.
func (s *Server) diverged() error {
	step, _ := s.store.At()
	return fmt.Errorf("%w: an update at step %d made parameters NaN or infinite and was not applied; the last good checkpoint is %s; a lower --lr may help",
		ErrNotFinite, step, s.lastGood())
}

// rateAt is the learning rate of a step of the window: it depends on the samples that
// come before the step, not on those that have been applied meanwhile.
func (s *Server) rateAt(step params.Step) float32 {
	at := s.position(step)
	return s.schedule.Rate(optim.Progress{Samples: s.relaxed.begins[at.Batch], Epoch: at.Epoch})
}

// applyAlone has a contribution that counts applied. It moves the parameters in the
// end as far as it would as a part of its step's mean.
func (s *Server) applyAlone(ses *session, step params.Step, node params.Node, chunk int, values *wire.Payload) {
	r := &s.relaxed
	if read, ok := ses.readAt(uint64(step), chunk); ok {
		r.staleness.add(r.decided[chunk] - read)
	}
	r.decided[chunk]++
	r.submitted++
	images := float32(s.cut.Total(s.position(step).Batch))
	s.lanes.submit(task{
		chunk: chunk, values: values, alone: true,
		scale: 1 / images, rate: s.rateAt(step), share: float32(s.window.Images(step, node)) / images,
	})
	s.advance()
}

// workDone notes that a worker has sent all it will for a piece of work.
func (s *Server) workDone(ses *session, t *musterv1.Tallies) {
	if o := ses.order; o != nil && o.Step == t.Step {
		ses.order = nil
	}
	s.advance()
	s.askIdle()
}

// advance publishes the steps that have become whole.
func (s *Server) advance() {
	var all Tally
	for {
		sum, ok := s.window.Pop()
		if !ok {
			break
		}
		step, _ := s.store.At()
		s.at, s.rate = s.position(step), s.rateAt(step)
		s.store.Advance(uint64(sum.Images))
		all = sumOf([]Tally{all, sum})
	}
	if all.Images == 0 {
		return
	}
	s.meter.end(s.kind)
	s.report(all)
	s.watchPace()
	s.meter.begin(s.stalled())
	if s.saveDue() || s.outOfTime() {
		s.window.EndAsked()
	}
	s.askIdle()
}

// askIdle asks the workers that have nothing to do.
func (s *Server) askIdle() {
	for _, worker := range sortedKeys(s.sessions) {
		if ses := s.sessions[worker]; ses.order == nil {
			s.askNext(ses)
		}
	}
}

// askNext asks a worker for what the window wants of it next, if anything.
func (s *Server) askNext(ses *session) {
	ses.order = nil
	step, shards, ok := s.window.Next(ses.shards)
	if !ok {
		return
	}
	at := s.position(step)
	w := &musterv1.Work{Kind: s.kind, Step: uint64(step), Epoch: uint32(at.Epoch), Batch: uint32(at.Batch), Shards: wireShards(shards)}
	floor := slices.Clone(s.relaxed.decided)
	ses.order = w
	s.expect(ses)
	ses.post(func() { ses.work, ses.floor = w, floor })
}

// whenDrained calls f once the state is that of one step: now, or soon; f(false) where
// the job ends before.
func (s *Server) whenDrained(f func(bool)) {
	if s.window == nil {
		f(true)
		return
	}
	s.window.EndAsked()
	s.relaxed.saves = append(s.relaxed.saves, f)
}

// Staleness is how far contributions were behind the parameters they were applied to,
// in this process's life.
type Staleness struct {
	Mean  float64 // updates to a chunk between reading it and being applied, over contributions and chunks
	Max   uint64
	Ahead int // steps that a worker was asked for beyond the lowest that was not whole, at most
}

type staleness struct{ sum, n, max uint64 }

func (c *staleness) add(updates uint64) {
	c.sum, c.n, c.max = c.sum+updates, c.n+1, max(c.max, updates)
}

// stale is the staleness so far; nil where nothing has been applied by itself.
func (s *Server) stale() *Staleness {
	c := s.relaxed.staleness
	if c.n == 0 {
		return nil
	}
	r := &Staleness{Mean: float64(c.sum) / float64(c.n), Max: c.max, Ahead: s.relaxed.ahead}
	if s.window != nil {
		r.Ahead = max(r.Ahead, s.window.Ahead())
	}
	return r
}
