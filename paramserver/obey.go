package paramserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// What the server of a part other than the first does as it is told: it takes a state, makes
// and publishes steps, and sends its state back.

// setUp makes ready for the state of a job, for the first time or once more.
func (p *Part) setUp(ctx context.Context, job *musterv1.PartJob) error {
	if hash := wire.JobHash(job.Job); hash != job.JobHash {
		return refused("job %q: its specification has hash %.12s here, %.12s at the server that coordinates: their versions differ", job.Job.GetName(), hash, job.JobHash)
	}
	if p.server != nil && p.server.hash != job.JobHash {
		return refused("the server that coordinates trains another job now: %s", wire.JobDifference(p.server.job, job.Job))
	}
	if p.server == nil {
		if err := p.open(ctx, job); err != nil {
			return err
		}
	}
	s := p.server
	own := chunksOf(s.network.Layout.Chunks(), p.cfg.Index, p.cfg.Count)
	if own != (chunkRange{int(job.First), int(job.End)}) || s.network.Layout.Fingerprint() != job.Layout {
		return refused("part %s has chunks %d to %d of layout %.12s here, %d to %d of %.12s at the server that coordinates: their versions differ",
			s.part.name, own.first, own.end-1, s.network.Layout.Fingerprint(), job.First, int(job.End)-1, job.Layout)
	}
	s.part.setReady(false, 0)
	s.round = nil
	s.lanes.abandon()
	for len(s.whole) > 0 {
		<-s.whole
	}
	for _, ses := range s.sessions {
		ses.end() // its worker joins again, the coordinator too
	}
	clear(s.joins)
	s.store.Settle()
	p.step, p.expected = params.Step(job.Step), own.first
	s.part.course = job.Course
	return nil
}

// open makes the server of a job, and serves it.
func (p *Part) open(ctx context.Context, job *musterv1.PartJob) error {
	cfg := DefaultConfig()
	cfg.Job, cfg.Log, cfg.Progress = job.Job, p.cfg.Log, nobody{}
	s, err := newBare(cfg, nil)
	if err != nil {
		return err
	}
	layout := s.network.Layout
	s.own = chunksOf(layout.Chunks(), p.cfg.Index, p.cfg.Count)
	s.startStore(0, 0, params.NewVector(layout.Size()), params.NewVector(layout.Size()))
	s.startLanes()
	s.part = &part{name: fmt.Sprintf("%d/%d", p.cfg.Index, p.cfg.Count), changed: make(chan struct{}), tell: p.tell}
	p.server = s
	p.state.Store(s.part)
	p.all.Go(s.lanes.run)
	p.all.Go(func() {
		if err := p.serve(ctx, s); err != nil {
			p.failed <- err
		}
	})
	return nil
}

// load takes in a chunk of the state to begin with.
func (p *Part) load(m *musterv1.PartState) error {
	s := p.server
	if s == nil || p.expected >= s.own.end || int(m.Chunk) != p.expected || m.Step != uint64(p.step) {
		return fmt.Errorf("assist: a state of step %d, chunk %d, that is not due", m.Step, m.Chunk)
	}
	r := s.network.Layout.Chunk(p.expected)
	if err := s.store.Load(p.step, r, m); err != nil {
		return fmt.Errorf("assist: state of chunk %d: %w", m.Chunk, err)
	}
	if p.expected++; p.expected == s.own.end {
		s.store.Take(p.step, 0)
		s.wakeAll()
		s.part.setReady(true, p.step)
		p.waiting = false
		p.cfg.Log.Info("part ready", "part", s.part.name, "job", s.job.Name, "step", uint64(p.step), "chunks", s.own.len())
	}
	return nil
}

// begin opens the round of a step.
func (p *Part) begin(b *musterv1.PartBegin) error {
	s := p.server
	step := params.Step(b.Step)
	if s == nil || p.expected < s.own.end || len(b.Images) != int(s.job.Shards) {
		return fmt.Errorf("assist: round of step %d before there is a state, or of %d shards", b.Step, len(b.Images))
	}
	if at, _ := s.store.At(); at != step {
		return fmt.Errorf("assist: round of step %d at step %d", b.Step, uint64(at))
	}
	images := make([]int, len(b.Images))
	for shard, n := range b.Images {
		images[shard] = int(n)
	}
	s.store.Begin()
	s.rate, s.scale, s.applied = b.Rate, b.Scale, 0
	s.round, s.kind = s.newRound(step, images), musterv1.WorkKind_WORK_KIND_GRADIENT
	s.part.setReady(true, step+1)
	return nil
}

// made notes that a lane has made a chunk of the next step.
func (p *Part) made() {
	s := p.server
	s.applied++
	s.wakeAll()
	if s.round == nil || s.applied < s.own.len() {
		return
	}
	p.tell(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Gathered{Gathered: &musterv1.PartGathered{
		Step: uint64(s.round.step), Diverged: s.lanes.diverged.Load(),
		GradientBytes: s.traffic.gradients.Load(), ParameterBytes: s.traffic.parameters.Load(), Course: s.part.course,
	}}})
}

// commit publishes the next step.
func (p *Part) commit(step params.Step) error {
	s := p.server
	if s == nil || s.round == nil || s.round.step+1 != step || s.applied < s.own.len() {
		return fmt.Errorf("assist: step %d is to be published and has not been made", uint64(step))
	}
	s.round = nil
	s.store.Commit(0)
	s.wakeAll()
	return nil
}

// collected sends the state at the newest step, while the next one is made.
func (p *Part) collected(step params.Step) error {
	s := p.server
	if s == nil {
		return errors.New("assist: a state is asked for before there is one")
	}
	v := s.store.Hold()
	if v.Step != step {
		v.Release()
		return fmt.Errorf("assist: the state of step %d is asked for at step %d", uint64(step), uint64(v.Step))
	}
	coordinator := p.coordinator
	p.all.Go(func() {
		defer v.Release()
		_ = sendState(v, s.own, s.network.Layout, func(m *musterv1.PartState) error {
			return coordinator.Send(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_State{State: m}})
		}) // Recv tells why it failed
	})
	return nil
}

// sendState sends a version's chunks in order, until send fails.
func sendState(v Version, own chunkRange, layout *params.Layout, send func(*musterv1.PartState) error) error {
	for chunk := own.first; chunk < own.end; chunk++ {
		r := layout.Chunk(chunk)
		if err := send(wire.NewPartState(uint64(v.Step), chunk, r.Of(v.Parameters), r.Of(v.Momentum))); err != nil {
			return err
		}
	}
	return nil
}
