package paramserver

import (
	"context"
	"io"
	"time"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// What a session tells its worker, and in which order.

// post changes the outbox.
func (ses *session) post(change func()) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	change()
	close(ses.wake)
	ses.wake = make(chan struct{})
}

// askAgain wants work that was given of the session once more. The server of a part
// gives none, and sends what has been replaced at once. Callers hold mu.
func (ses *session) askAgain(w *musterv1.Work) {
	switch {
	case ses.server.part != nil:
		ses.give(w)
	case ses.work == nil:
		ses.work = w
	}
}

// wanted takes in that the worker lacks parameters of a step.
func (ses *session) wanted(step uint64) {
	ses.post(func() {
		switch w := ses.given; {
		case ses.server.part != nil:
			ses.give(&musterv1.Work{Kind: musterv1.WorkKind_WORK_KIND_GRADIENT, Step: step})
		case w != nil && w.Step == step && !ses.server.sync.Relaxed:
			ses.askAgain(w) // another part refused what it sent
		}
	})
}

// end makes next return io.EOF once a Done has been taken, and at once without one.
func (ses *session) end() { ses.post(func() { ses.ended = true }) }

// ask wants work of the session, whose parameters are sent after it.
func (ses *session) ask(w *musterv1.Work) {
	ses.post(func() { ses.work = w })
}

// next sets m to what to tell the worker next; what it holds is the caller's to
// send or free. It ends with io.EOF when the session has.
func (ses *session) next(ctx context.Context, m *wire.Response) error {
	for {
		message, due, wake, err := ses.take()
		switch {
		case err != nil:
			return err
		case message != nil:
			*m = wire.Response{Message: message}
			return nil
		case due != nil:
			if ses.read(m, due) {
				return nil
			}
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// delivery is a chunk of the parameters that is to be sent.
type delivery struct {
	step  uint64
	chunk int
}

// take is next without waiting and without parameters' values: these are read
// while the outbox is not locked, because the loop must not wait for that. Where
// nothing is ready, wake is closed once something may be.
func (ses *session) take() (message *musterv1.ExchangeResponse, due *delivery, wake <-chan struct{}, err error) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	switch {
	case ses.done != nil:
		d := ses.done
		ses.done = nil
		ses.ended = true
		return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Done{Done: d}}, nil, nil, nil
	case ses.fault != nil:
		return nil, nil, nil, ses.fault
	case ses.ended:
		return nil, nil, nil, io.EOF
	case len(ses.refusals) > 0:
		r := ses.refusals[0]
		ses.refusals = ses.refusals[1:]
		return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Refusal{Refusal: r}}, nil, nil, nil
	case ses.assignment != nil:
		a := ses.assignment
		ses.assignment = nil
		return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Assignment{Assignment: a}}, nil, nil, nil
	}
	if w := ses.work; w != nil {
		ses.give(w)
		return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Work{Work: w}}, nil, nil, nil
	}
	w := ses.given
	if w == nil {
		return nil, nil, ses.wake, nil
	}
	// The worker begins with the layers that it has the parameters of.
	own := ses.server.own
	for chunk := own.first; chunk < own.end; chunk++ {
		if has := ses.holds[chunk]; has != w.Step+1 && has != w.Step+2 && ses.ripe(w.Step, chunk) {
			ses.fed = time.Now()
			return nil, ses.deliver(w.Step, chunk), nil, nil
		}
	}
	// What it sends makes the next step, chunk by chunk.
	if w.Kind == musterv1.WorkKind_WORK_KIND_GRADIENT && !ses.server.sync.Relaxed {
		for chunk := own.first; chunk < own.end; chunk++ {
			if has := ses.holds[chunk]; has != w.Step+2 && ses.server.store.Has(params.Step(w.Step+1), chunk) {
				return nil, ses.deliver(w.Step+1, chunk), nil, nil
			}
		}
	}
	return nil, nil, ses.wake, nil
}

// give makes work what the worker has been asked for. Where it is to do some of a
// step again, what the next step has replaced is due once more.
func (ses *session) give(w *musterv1.Work) {
	ses.work, ses.given, ses.fed = nil, w, time.Now()
	if ses.server.sync.Relaxed {
		clear(ses.holds)
		ses.beginReads(w)
		return
	}
	for chunk, has := range ses.holds {
		if has == w.Step+2 {
			ses.holds[chunk] = 0
		}
	}
}

// deliver notes that a chunk at a step is what the worker will have. The first
// layers' chunks come first in the vector, and are what a worker needs first.
func (ses *session) deliver(step uint64, chunk int) *delivery {
	ses.holds[chunk] = step + 1
	return &delivery{step, chunk}
}

// read sets m to a chunk of the parameters, unless its step is past by now.
func (ses *session) read(m *wire.Response, due *delivery) bool {
	s := ses.server
	if s.sync.Relaxed {
		ses.readLive(m, due)
		return true
	}
	if ses.shares() {
		if values := s.store.View(params.Step(due.step), due.chunk); values != nil {
			s.traffic.parameters.Add(uint64(4 * len(values)))
			*m = wire.Response{Parameters: wire.Parameters{
				Step: due.step, Chunk: uint32(due.chunk), Payload: wire.View(values), Shared: ses.transport == transportMemory,
			}}
			return true
		}
		return ses.missed(due)
	}
	if values := s.store.Read(params.Step(due.step), due.chunk); values != nil {
		s.traffic.parameters.Add(uint64(values.Len()))
		*m = wire.Response{Parameters: wire.Parameters{Step: due.step, Chunk: uint32(due.chunk), Payload: values}}
		return true
	}
	return ses.missed(due)
}

// missed notes that a chunk that was due is past.
func (ses *session) missed(due *delivery) bool {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	ses.holds[due.chunk] = 0
	if ses.given != nil && ses.given.Step == due.step {
		ses.given = nil // newer work will be asked for
	}
	return false
}

// holdsAll notes that the worker has all chunks at a step, plus one; 0: none. One
// that sees the server's vectors is told what they hold now.
func (ses *session) holdsAll(step uint64) {
	if ses.shares() || ses.server.sync.Relaxed {
		step = 0
	}
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for chunk := range ses.holds {
		ses.holds[chunk] = step
	}
}
