package paramserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

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

// tell sends to the coordinator; one that has gone will set this part up anew. The
// loop alone calls it, and goroutines that it waits for.
func (p *Part) tell(m *musterv1.AssistRequest) {
	if p.coordinator != nil {
		_ = p.coordinator.Send(m) // Recv tells why it failed
	}
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
