package paramserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// A job of several parts: each server owns a contiguous range of the chunks, and
// workers have a stream to each. The server of part 0 coordinates. It alone knows
// members, shards, schedule and data; it tells the others when a round begins, with
// its rate and scale, and when all parts have made the next step, which is published
// then. So no part is ever more than a round ahead of another.
//
// What the others own, the coordinator's vectors have as of the step at which it was
// collected last: for checkpoints, which are one file here and look as if there were
// no parts, and for what is pulled. So the others need no disk. Where one is lost,
// so is what it had: all parts go back to the newest checkpoint together.

// chunkRange is the chunks [first, end).
type chunkRange struct{ first, end int }

func (r chunkRange) len() int           { return r.end - r.first }
func (r chunkRange) has(chunk int) bool { return r.first <= chunk && chunk < r.end }

// chunksOf are those of a part: as many as any other part has, or one less.
func chunksOf(chunks, part, parts int) chunkRange {
	return chunkRange{chunks * part / parts, chunks * (part + 1) / parts}
}

// errPartLost ends a course of training because the server of a part has gone, and
// with it what it had.
var errPartLost = errors.New("the server of a part was lost")

// parted tells whether this server coordinates others.
func (s *Server) parted() bool { return len(s.others) > 0 }

// partName is 1/2, as the flag has it.
func (s *Server) partName(part int) string { return fmt.Sprintf("%d/%d", part, s.cfg.Parts) }

// missing are the parts whose servers are not there.
func (s *Server) missing() (names []string) {
	for i, a := range s.others {
		if a == nil {
			names = append(names, s.partName(i+1))
		}
	}
	return names
}

// partRanges says who owns which chunks, for workers; nil where the job has one part,
// or has ended: who comes then hears of that here, and the others have gone.
func (s *Server) partRanges() (ranges []*musterv1.PartRange) {
	if !s.parted() || s.ended() {
		return nil
	}
	ranges = append(ranges, &musterv1.PartRange{First: uint32(s.own.first), End: uint32(s.own.end)})
	for _, a := range s.others {
		ranges = append(ranges, &musterv1.PartRange{Address: a.address, First: uint32(a.own.first), End: uint32(a.own.end)})
	}
	return ranges
}

// enlist takes in the server of a part.
func (s *Server) enlist(ctx context.Context, hello *musterv1.PartHello) (*assistant, error) {
	if !s.parted() {
		return nil, refused("job %q has one part, which this server owns: part %d/%d has no place in it", s.job.Name, hello.Index, hello.Count)
	}
	if int(hello.Count) != s.cfg.Parts || hello.Index < 1 || hello.Index >= hello.Count {
		return nil, refused("part %d/%d does not fit: job %q has %d parts, of which this server owns 0/%d", hello.Index, hello.Count, s.job.Name, s.cfg.Parts, s.cfg.Parts)
	}
	if hello.Address == "" {
		return nil, refused("part %d/%d: no address at which workers reach it", hello.Index, hello.Count)
	}
	part := int(hello.Index)
	a := newAssistant(part, hello.Address, chunksOf(s.network.Layout.Chunks(), part, s.cfg.Parts), s.network.Layout, s.poke)
	var err error
	if ended := s.do(ctx, func() {
		switch old := s.others[part-1]; {
		case s.ended():
			err = errOver
		case old != nil:
			err = fmt.Errorf("part %s is served at %s as yet", s.partName(part), old.address)
		default:
			s.others[part-1] = a
			s.cfg.Log.Info("part joined", "part", s.partName(part), "address", a.address, "chunks", a.own.len())
		}
	}); ended != nil {
		return nil, ended
	}
	return a, err
}

// discharge forgets the server of a part whose stream has ended.
func (s *Server) discharge(a *assistant) {
	a.fail(fmt.Errorf("%w: %s at %s", errPartLost, s.partName(a.part), a.address))
	_ = s.do(context.Background(), func() {
		s.others[a.part-1] = nil
		if s.ended() {
			return
		}
		s.cfg.Log.Warn("part lost", "part", s.partName(a.part), "address", a.address)
		if s.assembled && s.failure == nil {
			s.failure = fmt.Errorf("%w: %s at %s", errPartLost, s.partName(a.part), a.address)
		}
	})
}

// poke tells the loop to look at what the other parts have said. Anyone calls it.
func (s *Server) poke() {
	select {
	case s.heard <- struct{}{}:
	default: // it will look
	}
}

// assemble waits until the servers of all parts are there, and hands each its state.
func (s *Server) assemble(ctx context.Context) error {
	said := ""
	for {
		missing := strings.Join(s.missing(), ", ")
		if missing == "" {
			break
		}
		if missing != said {
			s.cfg.Log.Info("the job waits for the servers of parts", "parts", missing)
			said = missing
		}
		if err := s.serveEvent(ctx); err != nil {
			return err
		}
	}
	s.course++
	for _, a := range s.others {
		a.setUp(s.job, s.hash, s.store, s.course)
	}
	s.assembled = true
	return nil
}

// order gives the same order to the servers of all other parts; one that has just
// been lost is not there to hear it.
func (s *Server) order(m *musterv1.AssistResponse) {
	for _, a := range s.others {
		if a != nil {
			a.orders.add(order[*musterv1.AssistResponse]{message: m, last: m.GetDone() != nil})
		}
	}
}

// beginParts opens a round in all parts.
func (s *Server) beginParts(round *Round) {
	images := make([]uint32, round.shards)
	for shard, n := range round.images {
		images[shard] = uint32(n)
	}
	s.order(&musterv1.AssistResponse{Message: &musterv1.AssistResponse_Begin{Begin: &musterv1.PartBegin{
		Step: uint64(round.step), Rate: s.rate, Scale: s.scale, Images: images,
	}}})
}

// commitParts has all parts publish a step.
func (s *Server) commitParts(step params.Step) {
	s.order(&musterv1.AssistResponse{Message: &musterv1.AssistResponse_Commit{Commit: &musterv1.PartCommit{Step: uint64(step)}}})
}

// gathered tells whether all other parts have made their chunks from the gradients
// of a step.
func (s *Server) gathered(step params.Step) bool {
	for _, a := range s.others {
		if a == nil || a.said().gathered != uint64(step)+1 {
			return false
		}
	}
	return true
}

// listen takes in what the other parts have said beside what gathered asks for.
func (s *Server) listen() {
	for _, a := range s.others {
		if a == nil {
			continue
		}
		if r := a.said().refused; r != nil && s.failure == nil {
			s.failure = s.notFinite(params.Step(r.Step), params.Node{First: int(r.Node.GetFirst()), End: int(r.Node.GetEnd())})
		}
	}
	s.releaseParts()
}

// anyDiverged tells whether an update of the round made parameters NaN or infinite,
// here or in another part.
func (s *Server) anyDiverged() bool {
	for _, a := range s.others {
		if a != nil && a.said().diverged {
			return true
		}
	}
	return s.lanes.diverged.Load()
}

// holdWhole is Store.Hold with what the other parts own: wait returns once that is
// there. Only the loop calls it.
func (s *Server) holdWhole() (v Version, wait func() error) {
	v = s.store.Hold()
	// What they will be set up with is here, and what was collected at the end.
	if !s.parted() || !s.assembled || s.ended() && s.collected() {
		return v, func() error { return nil }
	}
	var collections []*collection
	for i, a := range s.others {
		c := newCollection(v, chunksOf(s.network.Layout.Chunks(), i+1, s.cfg.Parts), s.network.Layout)
		collections = append(collections, c)
		if a == nil {
			c.fail(fmt.Errorf("%w: %s", errPartLost, s.partName(i+1)))
			continue
		}
		a.collect(c)
	}
	others := slices.Clone(s.others)
	return v, func() (first error) {
		// All of them, also after an error: what comes is written to the version that is held.
		for i, c := range collections {
			err := c.wait()
			if err != nil && others[i] != nil {
				others[i].fail(err) // one that is too slow is as good as lost
			}
			first = cmp.Or(first, err)
		}
		return first
	}
}

// collected tells whether the newest step is here with what the other parts own of it:
// because the job began or went back there, or there is a checkpoint of it. Only the loop calls it.
func (s *Server) collected() bool {
	step, _ := s.store.At()
	path, saved := s.saving.newestStep()
	return !s.parted() || step == s.resumed || path != "" && saved == step
}

// pull is the whole state at the newest step; its user releases it.
func (s *Server) pull(ctx context.Context) (v Version, err error) {
	if !s.parted() {
		return s.store.Hold(), nil
	}
	var wait func() error
	if err := s.do(ctx, func() { v, wait = s.holdWhole() }); err != nil {
		return v, err
	}
	if err := wait(); err != nil {
		v.Release()
		return v, err
	}
	return v, nil
}

// partStatus tells of all parts, and adds what went through the others to r; nil
// where the job has one part.
func (s *Server) partStatus(r *musterv1.StatusResponse) (parts []*musterv1.PartStatus) {
	if !s.parted() {
		return nil
	}
	parts = append(parts, &musterv1.PartStatus{
		Address: "here", First: uint32(s.own.first), End: uint32(s.own.end), GradientBytes: r.GradientBytes, ParameterBytes: r.ParameterBytes,
	})
	for i, a := range s.others {
		own := chunksOf(s.network.Layout.Chunks(), i+1, s.cfg.Parts)
		p := &musterv1.PartStatus{First: uint32(own.first), End: uint32(own.end)}
		if a != nil {
			said := a.said()
			p.Address, p.GradientBytes, p.ParameterBytes = a.address, said.gradients, said.parameters
			r.GradientBytes += said.gradients
			r.ParameterBytes += said.parameters
		}
		parts = append(parts, p)
	}
	return parts
}

// rewind takes the job back to its newest checkpoint, because what the server of a
// part had is lost.
func (s *Server) rewind(lost error) error {
	s.failure, s.round, s.assembled, s.phase = nil, nil, false, "waiting"
	s.lanes.abandon()
	for len(s.whole) > 0 {
		<-s.whole
	}
	s.saving.settle()
	state, path, err := s.lastSaved()
	if err != nil {
		return fmt.Errorf("%w; going back: %w", lost, err)
	}
	from, _ := s.store.At()
	s.store.Settle()
	s.store.LoadAll(params.Step(state.Step), state.Parameters, state.Momentum)
	s.store.Take(params.Step(state.Step), state.Samples)
	s.history, s.best = state.History, state.Best
	s.meter.rewind(state.Running)
	s.cfg.Log.Warn("the job goes back to where all parts can go on from", "why", lost, "from_step", uint64(from), "to_step", state.Step, "checkpoint", path)
	s.takePosition()
	return nil
}

// lastSaved is the state that the job has in its newest checkpoint, that which it began
// with if it has written none since; or in the one before, where that can't be read. What
// else may lie in the directory is not of this life of the job.
func (s *Server) lastSaved() (state *checkpoint.State, path string, err error) {
	if path = s.saving.newest(); path == "" {
		return s.initial(), "its beginning", nil
	}
	if state, err = checkpoint.Read(path); err == nil {
		return state, path, nil
	}
	s.cfg.Log.Warn("the newest checkpoint can't be read, an older one is taken", "checkpoint", path, "err", err)
	if state, path, err = s.checkpoints.Newest(); err == nil {
		err = s.checkSameJob(state, path)
	}
	if err == nil {
		s.saving.took(path, state)
	}
	return state, path, err
}

// leaving tells whether servers of parts want to stop.
func (s *Server) leaving() bool {
	return slices.ContainsFunc(s.others, func(a *assistant) bool { return a != nil && a.said().leaving })
}

// releaseParts lets servers of parts that want to stop go, once the state has been
// saved: the job goes back to the newest step, and nothing is lost with them but what has
// been done of the next. Only the loop calls it.
func (s *Server) releaseParts() {
	if !s.leaving() {
		return
	}
	if err := s.save(); err != nil {
		s.cfg.Log.Warn("checkpoint was not written, though a part leaves", "err", err)
	}
	for _, a := range s.others {
		if a != nil && a.release() {
			s.cfg.Log.Info("part leaves", "part", s.partName(a.part), "address", a.address)
		}
	}
}
