package paramserver

import (
	"github.com/muster-train/muster/model/params"
)

const (
	// mostMalformed is how often a worker may send the same contribution malformed in one
	// step of the job: more than a connection that damages something now and then.
	mostMalformed = 3
	// mostMalformedInStep is how many malformed contributions a worker may send in one step
	// of the job, whatever they name: more than such a connection damages, and fewer than
	// one pass over a large network in which all are.
	mostMalformedInStep = 64
)

// contribution is the name of one.
type contribution struct {
	step  params.Step
	node  params.Node
	chunk int // -1: the tally
}

// malformed counts what a session has sent malformed during one step of the job. A peer
// may name what it likes, so only names of the job are kept, and no more than
// mostMalformedInStep. It belongs to the loop.
type malformed struct {
	at    params.Step // of the job
	total int
	named map[contribution]int
	away  bool // the session has been ended for it
}

// names tells whether there is such a contribution in a step of the job; chunk -1 is
// the tally.
func (s *Server) names(node params.Node, chunk int) bool {
	return node.Valid(int(s.job.Shards)) && chunk >= -1 && chunk < s.network.Layout.Chunks()
}

// noteMalformed counts a contribution of the worker that was malformed, and ends the
// session for good when the same one has been so again and again, or too many have: the
// worker would go on for ever.
func (ses *session) noteMalformed(c contribution, detail string) {
	m := &ses.malformed
	if at, _ := ses.server.store.At(); at != m.at || m.named == nil {
		*m = malformed{at: at, named: map[contribution]int{}}
	}
	m.total++
	if ses.server.names(c.node, c.chunk) {
		m.named[c]++
	}
	switch {
	case m.named[c] >= mostMalformed:
		ses.sendAway(refused("worker %s sends what it contributes malformed: shards %s, chunk %d of step %d, %d times, the last time %s",
			ses.member.ID, c.node, c.chunk, uint64(c.step), mostMalformed, detail))
	case m.total >= mostMalformedInStep:
		ses.sendAway(refused("worker %s sends what it contributes malformed: %d contributions during step %d, the last one %s",
			ses.member.ID, mostMalformedInStep, uint64(m.at), detail))
	}
}

// sendAway ends the session for good, for a fault of the worker.
func (ses *session) sendAway(fault error) {
	ses.malformed.away = true
	ses.post(func() { ses.fault, ses.ended = fault, true })
}
