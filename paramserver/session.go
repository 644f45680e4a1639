package paramserver

import (
	"context"
	"errors"
	"fmt"
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
	number uint64
	own    bool // the worker holds its own lease

	transport string        // from attach on
	sums      *wire.Segment // memory the worker leaves its sums in, with transportMemory

	replaced atomic.Bool  // the worker has opened another session: its key in etcd is that one's
	last     atomic.Int64 // when the worker's last message came, in nanoseconds since 1970

	mu         sync.Mutex // guards the outbox below
	assignment *musterv1.Assignment
	work       *musterv1.Work
	refusals   []*musterv1.Refusal
	done       *musterv1.Done
	given      *musterv1.Work // sent last
	fed        time.Time      // when that, or the last of its parameters so far, was handed to the connection
	floor      []uint64       // by chunk: updates that the parameters for it have to have; nil: any
	reads      [2]reads       // of what was sent for relaxed work, newest first
	holds      []uint64       // by chunk: step, plus one, at which the worker has it once it has taken in all that is due; 0: none that is known
	wake       chan struct{}  // closed, and made anew, at each change
	ended      bool
	fault      error // why it has ended, where that is the worker's fault

	// Of the loop:
	shards    []int
	told      uint64         // number of the assignment told last
	order     *musterv1.Work // relaxed work that it has not said is done; nil: none
	malformed malformed
	awaited   time.Time // it was last asked for work, or sent something
	hung      bool      // it has sent nothing for too long
}

// What carries gradients and parameters, in status too.
const (
	transportProcess = "process" // nothing: the worker is in this process
	transportMemory  = "memory"  // nothing: the worker shares memory with this process
	transportStream  = "stream"
)

// shares tells whether the worker sees the server's vectors, and is told what is in
// them.
func (ses *session) shares() bool {
	// Parameters that change at any time can't be read in place.
	return ses.transport != transportStream && !ses.server.sync.Relaxed
}

func newSession(s *Server, m membership.Member, number uint64, own bool) *session {
	ses := &session{server: s, member: m, number: number, own: own, transport: transportStream, wake: make(chan struct{}), holds: make([]uint64, s.network.Layout.Chunks())}
	ses.last.Store(time.Now().UnixNano())
	return ses
}

// heard is when the worker's last message came, or its session began.
func (ses *session) heard() time.Time { return time.Unix(0, ses.last.Load()) }

// receive takes one message of the worker, and what it holds: what can be
// checked without the loop is checked here.
func (ses *session) receive(ctx context.Context, r *wire.Request) error {
	ses.last.Store(time.Now().UnixNano())
	if g := r.Gradient; g.Payload != nil || g.Shared {
		r.Gradient = wire.Gradient{}
		return ses.receiveGradient(ctx, g)
	}
	if f := r.Factors; f.Values != nil {
		r.Factors = wire.Factors{}
		return ses.receiveFactors(ctx, f)
	}
	switch m := r.Message.GetMessage().(type) {
	case *musterv1.ExchangeRequest_Tallies:
		if ses.server.part != nil {
			return errors.New("exchange: tallies are for the server that coordinates")
		}
		return ses.server.do(ctx, func() { ses.server.offerTallies(ses, m.Tallies) })
	case *musterv1.ExchangeRequest_Want:
		ses.wanted(m.Want.Step)
		return nil
	case *musterv1.ExchangeRequest_Leave:
		ses.server.cfg.Log.Info("worker gives its shards back", "worker", ses.member.ID, "reason", m.Leave.Reason)
		return errLeft
	}
	return fmt.Errorf("exchange: unexpected message %T", r.Message.GetMessage())
}

// errReplaced keeps a session from registering a worker that has a newer one.
var errReplaced = errors.New("the worker has a newer session")

// errLeft ends a session whose worker gives its shards back.
var errLeft = errors.New("the worker left")

// receiveGradient takes a contribution over from a worker.
func (ses *session) receiveGradient(ctx context.Context, g wire.Gradient) error {
	s := ses.server
	layout := s.network.Layout
	name := params.Node{First: int(g.First), End: int(g.End)}
	chunk, values := int(g.Chunk), g.Payload
	if g.Shared {
		if ses.sums == nil {
			return errors.New("exchange: a gradient in shared memory: there is none")
		}
		var err error
		if values, err = ses.sums.Chunk(g.Vector, g.Chunk); err != nil {
			return fmt.Errorf("exchange: %w", err)
		}
	}
	s.traffic.gradients.Add(uint64(values.Len()))
	refuse := func(reason musterv1.RefusalReason, detail string) error {
		values.Free()
		return s.do(ctx, func() { s.refuse(ses, reason, params.Step(g.Step), name, chunk, detail) })
	}
	if chunk >= layout.Chunks() {
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, fmt.Sprintf("chunk %d of %d", chunk, layout.Chunks()))
	}
	if !s.own.has(chunk) {
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, fmt.Sprintf("chunk %d is of another part: here are %d to %d", chunk, s.own.first, s.own.end-1))
	}
	want := layout.Live(chunk)
	if values.IsView() {
		want = layout.Chunk(chunk).Len()
	}
	if err := values.Check(want, s.encoding.Gradients()); err != nil {
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, err.Error())
	}
	if !kernel.Finite(values.Floats()) {
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE, "a value is NaN or infinite")
	}
	if s.part != nil {
		if err := s.part.await(ctx, params.Step(g.Step)); err != nil {
			values.Free()
			return err
		}
	}
	if err := s.do(ctx, func() { s.offer(ses, params.Step(g.Step), name, chunk, values) }); err != nil {
		values.Free()
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
		if lease, err = ses.hold(ctx); err != nil {
			return nil, fmt.Errorf("register worker %s: %w", ses.member.ID, err)
		}
	}
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
	if ended := s.do(ctx, func() {
		if s.joins[ses.number] == nil { // the state that it came for is not here any more
			err = notJoined(ses.number)
			return
		}
		ses.takeSums()
		ses.holdsAll(hello.HaveStepPlusOne)
		s.attached(ses)
	}); ended != nil {
		err = ended
	}
	if err != nil {
		drop(true)
		return nil, err
	}
	return func(left bool) {
		ses.end()
		_ = s.do(context.WithoutCancel(ctx), func() { s.detached(ses, left) })
		if ses.sums != nil {
			ses.sums.Close()
		}
		drop(left)
	}, nil
}

// hold registers the worker by a lease of this server's. One that has been here before
// is not kept waiting for etcd: it may be away, and the worker's key still count.
func (ses *session) hold(ctx context.Context) (*membership.Held, error) {
	s := ses.server
	register := func(ctx context.Context) (*membership.Lease, error) {
		if ses.replaced.Load() {
			return nil, errReplaced
		}
		return s.registry.Register(ctx, ses.member)
	}
	var known bool
	if err := s.do(ctx, func() { known = s.known[ses.member.ID] }); err != nil {
		return nil, err
	}
	if known {
		return s.registry.HoldSoon(ctx, register), nil
	}
	return s.registry.Hold(ctx, register)
}

// takeSums takes over the memory that the worker has joined with, if any.
func (ses *session) takeSums() {
	if j := ses.server.joins[ses.number]; j != nil && j.sums != nil && ses.transport == transportStream {
		ses.sums, j.sums = j.sums, nil
		ses.transport = transportMemory
	}
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
