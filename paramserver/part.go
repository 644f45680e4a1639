package paramserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// PartConfig sizes the server of a part other than the first.
type PartConfig struct {
	Index, Count int    // part Index of Count, from 0
	Address      string // where workers reach it
	Log          *slog.Logger
}

// Validate returns one sentence about the first setting that can't work.
func (c *PartConfig) Validate() error {
	switch {
	case c.Index < 1 || c.Index >= c.Count:
		return fmt.Errorf("part %d/%d: 1/%d to %d/%d are those that another server coordinates", c.Index, c.Count, c.Count, c.Count-1, c.Count)
	case c.Address == "":
		return fmt.Errorf("part %d/%d: an address at which workers reach it is needed", c.Index, c.Count)
	}
	return nil
}

// Coordinator is a stream to the server that coordinates. Send may be called from
// several goroutines beside Recv.
type Coordinator interface {
	Send(*musterv1.AssistRequest) error
	Recv() (*musterv1.AssistResponse, error)
	Close()
}

// Part is the server of a part of a job other than the first: it gathers and updates
// its chunks as it is told, and keeps nothing. Make it with NewPart, then Run it once.
type Part struct {
	cfg   PartConfig
	state atomic.Pointer[part] // of server; nil: none yet

	// dial opens a stream to the server that coordinates; serve answers workers for s
	// until ctx ends.
	dial  func(ctx context.Context) (Coordinator, error)
	serve func(ctx context.Context, s *Server) error

	// All below belongs to Run's goroutine.

	server      *Server     // of the job; nil: not known yet
	coordinator Coordinator // nil: lost, or not found yet
	expected    int         // chunk of the state that is due next; the end of its own: it is whole
	step        params.Step // of that state
	waiting     bool        // said that the coordinator is waited for
	all         sync.WaitGroup
	failed      chan error // of serving
	leaving     bool       // ctx has ended, and the coordinator is asked to release this part
}

// part is what the server of a part other than the first has beside a Server.
type part struct {
	name   string // 1/2
	course uint64 // of the job; the loop's
	// tell sends to the coordinator. It does not wait for the loop.
	tell func(*musterv1.AssistRequest)

	mu      sync.Mutex    // guards the fields below
	ready   bool          // it has a state, and a coordinator
	next    params.Step   // step whose round will be opened next
	changed chan struct{} // closed, and made anew, with each change
}

// NewPart makes the server of a part that finds its coordinator by dial. Once the
// job is known, serve is called to answer workers; its error ends Run.
func NewPart(cfg PartConfig, dial func(context.Context) (Coordinator, error), serve func(context.Context, *Server) error) (*Part, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Part{cfg: cfg, dial: dial, serve: serve, failed: make(chan error, 1)}, nil
}

// ErrJobFailed is what a Part's Run returns when the coordinator says that the job
// ended without success.
var ErrJobFailed = errors.New("the job ended early")

// leaveTimeout is how long a part that is to stop waits for what it has to be saved.
const leaveTimeout = 10 * time.Second

// saidOf is what the coordinator says, a stream to it, or why there is none any more.
type saidOf struct {
	stream  Coordinator
	message *musterv1.AssistResponse
	err     error
}

// Run serves the part until the job is done, and returns nil then. A coordinator that
// can't be reached is waited for, and a lost one looked for again, until ctx ends; a
// *RefusedError is for good. Once ctx has ended, it is served until what the part has is
// saved, or leaveTimeout.
func (p *Part) Run(ctx context.Context) error {
	inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
	said := make(chan saidOf)
	p.all.Go(func() { p.follow(inner, said) })
	err := p.loop(ctx, inner, said)
	if p.server != nil {
		p.server.finished.Store(true)
		for _, ses := range p.server.sessions {
			ses.end()
		}
		close(p.server.over)
		p.server.lanes.close()
	}
	cancel()
	p.all.Wait()
	return err
}

// follow brings what the coordinator says to the loop, and looks for it again
// whenever it is lost.
func (p *Part) follow(ctx context.Context, said chan<- saidOf) {
	bring := func(s saidOf) {
		select {
		case said <- s:
		case <-ctx.Done():
		}
	}
	const first, longest = 100 * time.Millisecond, 2 * time.Second
	pause := first
	for ctx.Err() == nil {
		stream, err := p.dial(ctx)
		if err == nil {
			_ = stream.Send(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Hello{Hello: &musterv1.PartHello{
				Index: uint32(p.cfg.Index), Count: uint32(p.cfg.Count), Address: p.cfg.Address,
			}}}) // Recv tells why it failed
			bring(saidOf{stream: stream})
			var m *musterv1.AssistResponse
			for m, err = stream.Recv(); err == nil; m, err = stream.Recv() {
				pause = first
				bring(saidOf{message: m})
			}
			stream.Close()
		}
		bring(saidOf{err: err})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(pause*3/2, longest)
	}
}

// loop obeys the coordinator and serves what sessions want.
func (p *Part) loop(ctx, inner context.Context, said <-chan saidOf) error {
	stop := ctx.Done()
	var patience <-chan time.Time // nil: this part is not to stop
	for {
		var events chan func()
		var whole chan struct{}
		if p.server != nil {
			events, whole = p.server.events, p.server.whole
		}
		select {
		case <-stop:
			if p.coordinator == nil {
				return ErrStopped
			}
			// Of what is here nothing need be lost: it is saved before this part goes.
			stop, patience, p.leaving = nil, time.After(leaveTimeout), true
			p.tell(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Leave{Leave: &musterv1.PartLeave{}}})
		case <-patience:
			return ErrStopped
		case err := <-p.failed:
			return err
		case f := <-events:
			f()
		case <-whole:
			p.made()
		case s := <-said:
			over, err := p.hear(inner, s)
			if over || err != nil {
				return err
			}
		}
	}
}

// hear takes in what the coordinator says; over tells that the job is done.
func (p *Part) hear(ctx context.Context, s saidOf) (over bool, err error) {
	var refusal *RefusedError
	switch {
	case errors.As(s.err, &refusal):
		return false, s.err
	case s.err != nil && p.leaving:
		return false, ErrStopped
	case s.err != nil:
		if !p.waiting {
			p.cfg.Log.Info("waiting for the server that coordinates", "err", s.err)
			p.waiting = true
		}
		p.coordinator = nil
		if p.server != nil {
			p.server.part.setReady(false, 0)
		}
		return false, nil
	case s.stream != nil:
		p.coordinator = s.stream
		return false, nil
	}
	switch m := s.message.GetMessage().(type) {
	case *musterv1.AssistResponse_Job:
		return false, p.setUp(ctx, m.Job)
	case *musterv1.AssistResponse_State:
		return false, p.load(m.State)
	case *musterv1.AssistResponse_Begin:
		return false, p.begin(m.Begin)
	case *musterv1.AssistResponse_Commit:
		return false, p.commit(params.Step(m.Commit.Step))
	case *musterv1.AssistResponse_Collect:
		return false, p.collected(params.Step(m.Collect.Step))
	case *musterv1.AssistResponse_Release:
		return false, ErrStopped
	case *musterv1.AssistResponse_Done:
		if !m.Done.Success {
			return true, fmt.Errorf("%w: %s", ErrJobFailed, m.Done.Reason)
		}
		p.cfg.Log.Info("the job is done", "step", m.Done.Step)
		return true, nil
	}
	return false, fmt.Errorf("assist: unexpected message %T", s.message.GetMessage())
}

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

// tell sends to the coordinator; one that has gone will set this part up anew. The
// loop alone calls it, and goroutines that it waits for.
func (p *Part) tell(m *musterv1.AssistRequest) {
	if p.coordinator != nil {
		_ = p.coordinator.Send(m) // Recv tells why it failed
	}
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

// setReady notes whether there is a state, and the step whose round will be opened next.
func (p *part) setReady(ready bool, next params.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ready, p.next = ready, next
	close(p.changed)
	p.changed = make(chan struct{})
}

// Ready returns why workers can't come yet, nil if they can.
func (p *Part) Ready(context.Context) error {
	if state := p.state.Load(); state == nil || !state.isReady() {
		return errors.New("the server that coordinates is waited for")
	}
	return nil
}

// isReady tells whether workers may come.
func (p *part) isReady() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ready
}

// await returns once the round of a step is open, where it is the next one: a worker
// may hear of it before this server does.
func (p *part) await(ctx context.Context, step params.Step) error {
	for {
		p.mu.Lock()
		next, changed := p.ready && step == p.next, p.changed
		p.mu.Unlock()
		if !next {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
