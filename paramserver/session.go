package paramserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// session is one connected worker. What the loop wants to tell it waits in an
// outbox that holds the newest of each kind, so that a slow worker is told what
// is so now, and costs no memory. next may be called from one goroutine,
// receive from another.
type session struct {
	server *Server
	member membership.Member
	own    bool // the worker holds its own lease

	scratch []float32 // chunk on its way out; next's

	replaced atomic.Bool  // the worker has opened another session: its key in etcd is that one's
	last     atomic.Int64 // when the worker's last message came, in nanoseconds since 1970

	mu         sync.Mutex // guards the outbox below
	assignment *musterv1.Assignment
	work       *musterv1.Work
	refusals   []*musterv1.Refusal
	done       *musterv1.Done
	has        uint64        // step whose parameters the worker has, plus one; 0: none
	sent       int           // chunks of work.Step sent so far
	wake       chan struct{} // closed, and made anew, at each change
	ended      bool

	// Of the loop:
	shards []int
	told   uint64 // number of the assignment told last
}

func newSession(s *Server, m membership.Member, own bool) *session {
	ses := &session{server: s, member: m, own: own, scratch: make([]float32, params.ChunkValues), wake: make(chan struct{})}
	ses.last.Store(time.Now().UnixNano())
	return ses
}

// heard is when the worker's last message came, or its session began.
func (ses *session) heard() time.Time { return time.Unix(0, ses.last.Load()) }

// post changes the outbox.
func (ses *session) post(change func()) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	change()
	close(ses.wake)
	ses.wake = make(chan struct{})
}

// end makes next return io.EOF once a Done has been taken, and at once without one.
func (ses *session) end() { ses.post(func() { ses.ended = true }) }

// ask wants work of the session, with its parameters sent before.
func (ses *session) ask(w *musterv1.Work) {
	ses.post(func() {
		if ses.work == nil || ses.work.Step != w.Step {
			ses.sent = 0
		}
		ses.work = w
	})
}

// next returns what to tell the worker next, valid until the following call.
// It ends with io.EOF when the session has.
func (ses *session) next(ctx context.Context) (*musterv1.ExchangeResponse, error) {
	for {
		m, wake, err := ses.take()
		if m != nil || err != nil {
			return m, err
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (ses *session) take() (*musterv1.ExchangeResponse, <-chan struct{}, error) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	switch {
	case ses.done != nil:
		d := ses.done
		ses.done = nil
		ses.ended = true
		return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Done{Done: d}}, nil, nil
	case ses.ended:
		return nil, nil, io.EOF
	case len(ses.refusals) > 0:
		r := ses.refusals[0]
		ses.refusals = ses.refusals[1:]
		return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Refusal{Refusal: r}}, nil, nil
	case ses.assignment != nil:
		a := ses.assignment
		ses.assignment = nil
		return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Assignment{Assignment: a}}, nil, nil
	case ses.work == nil:
		return nil, ses.wake, nil
	}

	w := ses.work
	layout := ses.server.network.Layout
	if ses.has != w.Step+1 && ses.sent < layout.Chunks() {
		chunk := ses.sent
		values := ses.scratch[:layout.Chunk(chunk).Len()]
		if !ses.server.store.Read(values, params.Step(w.Step), chunk) {
			ses.work = nil // it is past; newer work will be asked for
			return nil, ses.wake, nil
		}
		ses.sent++
		m := wire.Parameters(w.Step, chunk, values)
		ses.server.traffic.parameters.Add(uint64(len(m.Payload)))
		return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Parameters{Parameters: m}}, nil, nil
	}
	ses.has = w.Step + 1
	ses.work = nil
	return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Work{Work: w}}, nil, nil
}

// receive takes one message of the worker: what can be checked without the
// loop is checked here. m is not kept.
func (ses *session) receive(ctx context.Context, m *musterv1.ExchangeRequest) error {
	ses.last.Store(time.Now().UnixNano())
	switch m := m.Message.(type) {
	case *musterv1.ExchangeRequest_Gradient:
		return ses.receiveGradient(ctx, m.Gradient)
	case *musterv1.ExchangeRequest_Tallies:
		return ses.server.do(ctx, func() { ses.server.offerTallies(ses, m.Tallies) })
	case *musterv1.ExchangeRequest_Leave:
		ses.server.cfg.Log.Info("worker gives its shards back", "worker", ses.member.ID, "reason", m.Leave.Reason)
		return errLeft
	}
	return fmt.Errorf("exchange: unexpected message %T", m.Message)
}

// errReplaced keeps a session from registering a worker that has a newer one.
var errReplaced = errors.New("the worker has a newer session")

// errLeft ends a session whose worker gives its shards back.
var errLeft = errors.New("the worker left")

func (ses *session) receiveGradient(ctx context.Context, g *musterv1.GradientChunk) error {
	s := ses.server
	layout := s.network.Layout
	name := params.Node{First: int(g.GetNode().GetFirst()), End: int(g.GetNode().GetEnd())}
	chunk := int(g.Chunk)
	refuse := func(reason musterv1.RefusalReason, detail string) error {
		return s.do(ctx, func() { s.refuse(ses, reason, params.Step(g.Step), name, chunk, detail) })
	}
	if chunk >= layout.Chunks() {
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, fmt.Sprintf("chunk %d of %d", chunk, layout.Chunks()))
	}
	s.traffic.gradients.Add(uint64(len(g.Payload)))
	values := newBuffer(layout.Live(chunk))
	if err := wire.Decode(values.values, g); err != nil {
		values.free()
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, err.Error())
	}
	if !kernel.Finite(values.values) {
		values.free()
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE, "a value is NaN or infinite")
	}
	if err := s.do(ctx, func() { s.offer(ses, params.Step(g.Step), name, chunk, values) }); err != nil {
		values.free()
		return err
	}
	return nil
}

// attach registers the worker and makes the session known to the loop. The
// function it returns undoes both; gracefully where the worker said good-bye,
// else the worker's lease is left to run out, so that it may come back.
func (ses *session) attach(ctx context.Context, hello *musterv1.Hello) (release func(left bool), err error) {
	s := ses.server
	var lease *membership.Held
	if !ses.own {
		lease, err = membership.Hold(ctx, s.cfg.Log, func(ctx context.Context) (*membership.Lease, error) {
			if ses.replaced.Load() {
				return nil, errReplaced
			}
			return s.registry.Register(ctx, ses.member)
		})
		if err != nil {
			return nil, fmt.Errorf("register worker %s: %w", ses.member.ID, err)
		}
	}
	ses.mu.Lock()
	ses.has = hello.HaveStepPlusOne
	ses.mu.Unlock()
	drop := func(left bool) {
		if lease == nil {
			return
		}
		if !left && !s.ended() {
			lease.Abandon()
			return
		}
		// The worker will not come back: its shards are free at once. The
		// worker's own context may have ended already.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := lease.Release(ctx); err != nil {
			s.cfg.Log.Warn("worker's lease was not given back, it will run out", "worker", ses.member.ID, "err", err)
		}
	}
	if err := s.do(ctx, func() { s.attached(ses) }); err != nil {
		drop(true)
		return nil, err
	}
	return func(left bool) {
		ses.end()
		_ = s.do(context.WithoutCancel(ctx), func() { s.detached(ses, left) })
		drop(left)
	}, nil
}

// wireShards returns shards as the protocol has them.
func wireShards(shards []int) []uint32 {
	out := make([]uint32, len(shards))
	for i, s := range shards {
		out[i] = uint32(s)
	}
	return out
}

func sortedKeys(m map[string]*session) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
