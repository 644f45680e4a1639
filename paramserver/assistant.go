package paramserver

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// assistant is the connected server of another part, as the coordinator sees it.
// One goroutine delivers its orders, another brings what the other side says to receive.
type assistant struct {
	part    int
	address string
	own     chunkRange
	layout  *params.Layout
	poke    func() // tells the loop that something was said

	orders *orders[*musterv1.AssistResponse]

	mu          sync.Mutex // guards the fields below
	last        saying
	collections []*collection // asked for and not whole, in order
}

// saying is what the other side has said last.
type saying struct {
	gathered              uint64 // step of which all chunks have been made into the next, plus one; 0: none yet
	diverged              bool
	refused               *musterv1.PartRefused
	leaving               bool   // it is to stop, and waits to be released
	gradients, parameters uint64 // payload bytes
	course                uint64 // of the job, that all of this is of
}

func newAssistant(part int, address string, own chunkRange, layout *params.Layout, poke func()) *assistant {
	return &assistant{part: part, address: address, own: own, layout: layout, poke: poke, orders: newOrders[*musterv1.AssistResponse]()}
}

// setUp has the other side begin, or begin anew, with a job's state at the store's
// newest step.
func (a *assistant) setUp(job *musterv1.JobSpec, hash string, store *Store, course uint64) {
	a.mu.Lock()
	a.last.gathered, a.last.diverged, a.last.refused, a.last.course = 0, false, nil, course
	a.mu.Unlock()
	v := store.Hold()
	a.orders.post(&musterv1.AssistResponse{Message: &musterv1.AssistResponse_Job{Job: &musterv1.PartJob{
		Job: job, JobHash: hash, Layout: a.layout.Fingerprint(), First: uint32(a.own.first), End: uint32(a.own.end), Step: uint64(v.Step), Course: course,
	}}})
	a.orders.add(order[*musterv1.AssistResponse]{state: &v})
}

// release lets the other side go, if it wants to.
func (a *assistant) release() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.last.leaving {
		return false
	}
	a.last.leaving = false
	a.orders.add(order[*musterv1.AssistResponse]{message: &musterv1.AssistResponse{Message: &musterv1.AssistResponse_Release{Release: &musterv1.PartRelease{}}}, last: true})
	return true
}

// said is what the other side has said last.
func (a *assistant) said() saying {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.last
}

// receive takes one message in. It doesn't wait for the loop, which may itself wait
// for a state to come.
func (a *assistant) receive(r *musterv1.AssistRequest) error {
	defer a.poke()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch m := r.GetMessage().(type) {
	case *musterv1.AssistRequest_Gathered:
		g := m.Gathered
		a.last.gradients, a.last.parameters = g.GradientBytes, g.ParameterBytes
		if g.Course == a.last.course {
			a.last.gathered, a.last.diverged = g.Step+1, g.Diverged
		}
		return nil
	case *musterv1.AssistRequest_Refused:
		if m.Refused.Course == a.last.course {
			a.last.refused = m.Refused
		}
		return nil
	case *musterv1.AssistRequest_Leave:
		a.last.leaving = true
		return nil
	case *musterv1.AssistRequest_State:
		if len(a.collections) == 0 {
			return fmt.Errorf("assist: a state that nobody asked for, of step %d", m.State.Step)
		}
		whole, err := a.collections[0].put(m.State)
		if whole {
			a.collections = a.collections[1:]
		}
		return err
	}
	return fmt.Errorf("assist: unexpected message %T", r.GetMessage())
}

// collect asks for the state of the other side's chunks at the newest step.
func (a *assistant) collect(c *collection) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.orders.gone(); err != nil {
		c.fail(err)
		return
	}
	a.collections = append(a.collections, c)
	a.orders.post(&musterv1.AssistResponse{Message: &musterv1.AssistResponse_Collect{Collect: &musterv1.PartCollect{Step: uint64(c.step)}}})
}

// fail notes that the other side is gone: whoever waits for its state is told errPartLost,
// and why.
func (a *assistant) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !errors.Is(err, errPartLost) {
		err = fmt.Errorf("%w: %w", errPartLost, err)
	}
	a.orders.fail(err)
	for _, c := range a.collections {
		c.fail(err)
	}
	a.collections = nil
}

// collection gathers the state of a part's chunks in the coordinator's vectors, whose
// version its user holds. put and fail are called with the assistant locked.
type collection struct {
	step                 params.Step
	own                  chunkRange
	layout               *params.Layout
	parameters, momentum []float32
	next                 int // chunk: they come in order

	once sync.Once
	done chan struct{}
	err  error // once done is closed
}

// collectTimeout is how long the state of a part may take to come: far longer than
// the slowest link of use takes.
const collectTimeout = time.Minute

func newCollection(v Version, own chunkRange, layout *params.Layout) *collection {
	return &collection{step: v.Step, own: own, layout: layout, parameters: v.Parameters, momentum: v.Momentum, next: own.first, done: make(chan struct{})}
}

// put takes in the next chunk; whole tells that it was the last.
func (c *collection) put(m *musterv1.PartState) (whole bool, err error) {
	if m.Step != uint64(c.step) || int(m.Chunk) != c.next {
		return false, fmt.Errorf("assist: state of step %d, chunk %d; step %d, chunk %d is due", m.Step, m.Chunk, uint64(c.step), c.next)
	}
	r := c.layout.Chunk(c.next)
	if err := wire.ReadPartState(r.Of(c.parameters), r.Of(c.momentum), m); err != nil {
		return false, fmt.Errorf("assist: state of chunk %d: %w", m.Chunk, err)
	}
	if c.next++; c.next < c.own.end {
		return false, nil
	}
	c.fail(nil)
	return true, nil
}

// fail ends the wait, with success where err is nil.
func (c *collection) fail(err error) {
	c.once.Do(func() { c.err = err; close(c.done) })
}

// wait returns once the state is there, or can't come any more.
func (c *collection) wait() error {
	patience := time.NewTimer(collectTimeout)
	defer patience.Stop()
	select {
	case <-c.done:
		return c.err
	case <-patience.C:
		return fmt.Errorf("%w: the state of chunks %d to %d has not come within %v", errPartLost, c.own.first, c.own.end-1, collectTimeout)
	}
}
