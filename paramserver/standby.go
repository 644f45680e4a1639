package paramserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Leading is a stream to the server that leads. Send and Recv may be called from two
// goroutines.
type Leading interface {
	Send(*musterv1.FollowRequest) error
	Recv() (*musterv1.FollowResponse, error)
	Close()
}

// Standby follows the server that leads a job, and has its state at every step that
// anybody has seen. Make it with NewStandby; Follow may be called again and again, State
// between two calls.
type Standby struct {
	server, address string
	job             *musterv1.JobSpec
	hash            string
	network         *model.Network
	log             *slog.Logger

	store *Store // nil: none yet
	whole bool   // store has a whole state
	meta  checkpoint.Meta

	// Of the round at hand:
	begun  *musterv1.PartBegin // nil: none is open
	made   []bool              // by chunk
	left   int                 // chunks not made
	packed []float32           // a sum's live values
	sum    []float32           // all values of its chunk
	mu     sync.Mutex          // guards following
	follow bool                // Follow has come as far as a whole state
}

// NewStandby makes a standby of a job, which workers would reach at address.
func NewStandby(job *musterv1.JobSpec, server, address string, log *slog.Logger) (*Standby, error) {
	net, err := network(job)
	if err != nil {
		return nil, err
	}
	return &Standby{
		server: server, address: address, job: job, hash: wire.JobHash(job), network: net, log: log,
		made: make([]bool, net.Layout.Chunks()), packed: make([]float32, params.ChunkValues), sum: params.NewVector(params.ChunkValues),
	}, nil
}

// State is the job's state at the newest step that the standby has, nil where it has
// none. It is the caller's: the standby begins anew with the next Follow.
func (b *Standby) State() *checkpoint.State {
	if !b.whole {
		return nil
	}
	v := b.store.Hold()
	v.Release()
	state := &checkpoint.State{Meta: b.meta, Layout: b.network.Layout, Parameters: v.Parameters, Momentum: v.Momentum}
	state.Step, state.Samples = uint64(v.Step), v.Samples
	b.store, b.whole = nil, false
	return state
}

// Follows tells whether the standby has the state and hears of every step.
func (b *Standby) Follows() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.follow
}

func (b *Standby) setFollows(is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.follow = is
}

// Follow makes the job's steps as the server that leads does, until the job is done,
// which is nil, or that server is lost or ctx ends. It closes leading. A *RefusedError is for good.
func (b *Standby) Follow(ctx context.Context, leading Leading) error {
	defer b.setFollows(false)
	defer leading.Close()
	defer context.AfterFunc(ctx, leading.Close)()
	if err := leading.Send(&musterv1.FollowRequest{Message: &musterv1.FollowRequest_Hello{Hello: &musterv1.FollowHello{Server: b.server, Address: b.address}}}); err != nil {
		b.log.Debug("hello was not sent", "err", err) // Recv tells why
	}
	for {
		m, err := leading.Recv()
		if err != nil {
			return err
		}
		if d := m.GetDone(); d != nil {
			if !d.Success {
				return fmt.Errorf("%w: %s", ErrJobFailed, d.Reason)
			}
			b.log.Info("the job is done", "step", d.Step, "parameters", "sha256:"+d.ParametersSha256)
			return nil
		}
		if err := b.hear(m); err != nil {
			b.whole = false // it does not guess
			return err
		}
		if c := m.GetCommit(); c != nil {
			if err := leading.Send(&musterv1.FollowRequest{Message: &musterv1.FollowRequest_Made{Made: &musterv1.FollowMade{Step: c.Step}}}); err != nil {
				b.log.Debug("a step was not acknowledged", "err", err)
			}
		}
	}
}

// hear takes in one message.
func (b *Standby) hear(r *musterv1.FollowResponse) error {
	switch m := r.GetMessage().(type) {
	case *musterv1.FollowResponse_Job:
		return b.setUp(m.Job)
	case *musterv1.FollowResponse_Meta:
		return b.take(m.Meta)
	case *musterv1.FollowResponse_State:
		return b.load(m.State)
	case *musterv1.FollowResponse_Begin:
		return b.begin(m.Begin)
	case *musterv1.FollowResponse_Sum:
		return b.apply(m.Sum)
	case *musterv1.FollowResponse_Commit:
		return b.commit(m.Commit)
	}
	return fmt.Errorf("follow: unexpected message %T", r.GetMessage())
}

// take takes in how the job stands.
func (b *Standby) take(text []byte) error {
	var meta checkpoint.Meta
	if err := json.Unmarshal(text, &meta); err != nil {
		return fmt.Errorf("follow: how the job stands: %w", err)
	}
	b.meta = meta
	return nil
}

// setUp makes ready for the state that comes next.
func (b *Standby) setUp(j *musterv1.FollowJob) error {
	if j.JobHash != b.hash {
		return refused("the server that leads trains another job: %s", wire.JobDifference(b.job, j.Job))
	}
	if got := b.network.Layout.Fingerprint(); got != j.Layout {
		return refused("the layout of %s has fingerprint %.12s here, %.12s at the server that leads: their versions differ", b.job.Network, got, j.Layout)
	}
	size := b.network.Layout.Size()
	b.whole, b.begun, b.left = false, nil, b.network.Layout.Chunks()
	b.store = NewStore(b.network.Layout, rule(b.job), params.Step(j.Step), j.Samples, params.NewVector(size), params.NewVector(size))
	return nil
}

// load takes in a chunk of the state; they come in order.
func (b *Standby) load(m *musterv1.PartState) error {
	if b.store == nil || b.whole {
		return errors.New("follow: a state that is not due")
	}
	step, samples := b.store.At()
	chunk := b.network.Layout.Chunks() - b.left
	if m.Step != uint64(step) || int(m.Chunk) != chunk || b.left == 0 {
		return fmt.Errorf("follow: state of step %d, chunk %d; step %d, chunk %d is due", m.Step, m.Chunk, uint64(step), chunk)
	}
	if err := b.store.Load(step, b.network.Layout.Chunk(chunk), m); err != nil {
		return fmt.Errorf("follow: state of chunk %d: %w", m.Chunk, err)
	}
	if b.left--; b.left == 0 {
		b.store.Take(step, samples)
		b.whole = true
		b.setFollows(true)
		b.log.Info("standby ready", "job", b.job.Name, "step", uint64(step))
	}
	return nil
}

func (b *Standby) begin(m *musterv1.PartBegin) error {
	if !b.whole {
		return fmt.Errorf("follow: round of step %d before there is a state", m.Step)
	}
	if at, _ := b.store.At(); uint64(at) != m.Step || b.begun != nil {
		return fmt.Errorf("follow: round of step %d at step %d", m.Step, uint64(at))
	}
	b.begun, b.left = m, b.network.Layout.Chunks()
	clear(b.made)
	b.store.Begin()
	return nil
}

// apply makes a chunk of the next step.
func (b *Standby) apply(m *musterv1.FollowSum) error {
	layout, chunk := b.network.Layout, int(m.Chunk)
	if b.begun == nil || m.Step != b.begun.Step || chunk >= layout.Chunks() || b.made[chunk] {
		return fmt.Errorf("follow: a sum of step %d, chunk %d, that is not due", m.Step, m.Chunk)
	}
	live := b.packed[:layout.Live(chunk)]
	if err := wire.ReadFollowSum(live, m); err != nil {
		return fmt.Errorf("follow: sum of chunk %d: %w", chunk, err)
	}
	if !b.store.Apply(chunk, layout.Unpack(b.sum, live, chunk), b.begun.Scale, b.begun.Rate) {
		return fmt.Errorf("follow: %w: the update of step %d", ErrNotFinite, m.Step)
	}
	b.made[chunk] = true
	b.left--
	return nil
}

func (b *Standby) commit(m *musterv1.FollowCommit) error {
	if b.begun == nil || b.left > 0 || m.Step != b.begun.Step+1 {
		return fmt.Errorf("follow: step %d is to be published and has not been made", m.Step)
	}
	if err := b.take(m.Meta); err != nil {
		return err
	}
	b.begun = nil
	_, samples := b.store.At()
	b.store.Commit(m.Samples - samples)
	return nil
}
