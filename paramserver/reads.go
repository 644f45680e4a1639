package paramserver

import (
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// How a session sends the live parameters of a job with relaxed synchronisation, and
// remembers which updates they had, so that the staleness of what comes back is known.

// reads are what was sent for the work of one step.
type reads struct {
	step    uint64
	updates []uint64 // by chunk: of the parameters as they were sent, plus one; 0: not yet
}

// beginReads makes ready for the parameters of a piece of work. What came for it
// when it was asked for before stays: whether the worker computes it with these or
// with what follows can't be told, and staleness is rather said too high. Callers
// hold mu.
func (ses *session) beginReads(w *musterv1.Work) {
	if w.Kind != musterv1.WorkKind_WORK_KIND_GRADIENT || ses.reads[0].updates != nil && ses.reads[0].step == w.Step {
		return
	}
	old := ses.reads[1].updates
	if old == nil {
		old = make([]uint64, len(ses.holds))
	}
	clear(old)
	ses.reads[0], ses.reads[1] = reads{w.Step, old}, ses.reads[0]
}

// ripe tells whether a chunk has what had counted when the work was given: no worker
// computes without what it has contributed itself. The server of a part may be told of
// work before it has published the step. Callers hold mu.
func (ses *session) ripe(step uint64, chunk int) bool {
	if ses.server.part != nil {
		return ses.server.store.Has(params.Step(step), chunk)
	}
	return ses.floor == nil || ses.server.store.Updates(chunk) >= ses.floor[chunk]
}

// readLive sets m to a chunk as it is now, labelled with the step of the work.
func (ses *session) readLive(m *wire.Response, due *delivery) {
	values, updates := ses.server.store.ReadLive(due.chunk)
	ses.server.traffic.parameters.Add(uint64(values.Len()))
	*m = wire.Response{Parameters: wire.Parameters{Step: due.step, Chunk: uint32(due.chunk), Payload: values}}
	ses.mu.Lock()
	defer ses.mu.Unlock()
	if r := &ses.reads[0]; r.updates != nil && r.step == due.step && r.updates[due.chunk] == 0 {
		r.updates[due.chunk] = updates + 1
	}
}

// readAt is how many updates the chunk had that a contribution of a step was computed
// from; false where that is not known, as of one that came by a Push.
func (ses *session) readAt(step uint64, chunk int) (updates uint64, ok bool) {
	ses.mu.Lock()
	defer ses.mu.Unlock()
	for _, r := range ses.reads {
		if r.updates != nil && r.step == step && r.updates[chunk] > 0 {
			return r.updates[chunk] - 1, true
		}
	}
	return 0, false
}
