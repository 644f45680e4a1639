package paramserver

import (
	"math"
	"slices"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// offer decides on a contribution and hands its values to a lane, or frees them.
func (s *Server) offer(ses *session, step params.Step, node params.Node, chunk int, values *wire.Payload) {
	s.stirred(ses)
	if s.ended() {
		values.Free()
		return
	}
	o := s.decide(step, node, chunk)
	if o.Verdict == Counted && s.window != nil {
		s.applyAlone(ses, step, node, chunk, values)
		return
	}
	if o.Verdict == Counted {
		s.lanes.submit(task{chunk: chunk, outcome: o, values: values, scale: s.scale, rate: s.rate})
		return
	}
	values.Free()
	s.reject(ses, o.Verdict, step, node, chunk)
}

// decide says what becomes of a contribution.
func (s *Server) decide(step params.Step, node params.Node, chunk int) (o Outcome) {
	switch current, _ := s.store.At(); {
	case s.window != nil:
		o.Verdict = s.window.Offer(step, node, chunk)
	case s.round != nil && s.kind == musterv1.WorkKind_WORK_KIND_GRADIENT:
		return s.round.Offer(step, node, chunk)
	case step < current:
		o.Verdict = Stale
	default:
		o.Verdict = Future
	}
	return o
}

// reject tells a worker, where it must know, why a contribution does not count.
func (s *Server) reject(ses *session, why Verdict, step params.Step, node params.Node, chunk int) {
	switch why {
	case Repeated:
		s.counts.repeated++ // as a recomputed contribution looks: dropped
	case Stale:
		s.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_STALE, step, node, chunk, "the step has been applied")
	case Future:
		if !s.relaxed.ending {
			s.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_FUTURE, step, node, chunk, "the step has not begun")
		}
	case Malformed:
		s.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, step, node, chunk, "no such node or chunk in this job")
	case Mixed:
		s.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_MIXED, step, node, chunk, "some of its shards have counted")
	}
}

// offerTallies counts what a worker's shards add up to.
func (s *Server) offerTallies(ses *session, t *musterv1.Tallies) {
	s.stirred(ses)
	if s.ended() {
		return
	}
	if current, _ := s.store.At(); s.round == nil && s.window == nil || t.Kind != s.kind {
		reason, detail := musterv1.RefusalReason_REFUSAL_REASON_STALE, "that work is done"
		if params.Step(t.Step) > current {
			reason, detail = musterv1.RefusalReason_REFUSAL_REASON_FUTURE, "the step has not begun"
		}
		for _, tally := range t.Tallies {
			s.refuse(ses, reason, params.Step(t.Step), params.Leaf(int(tally.Shard)), -1, detail)
		}
		return
	}
	images := 0
	for _, tally := range t.Tallies {
		images += int(tally.Images)
	}
	s.meter.computed(ses.member.ID, t.ComputeSeconds, images)
	for _, tally := range t.Tallies {
		node := params.Leaf(int(tally.Shard))
		if math.IsNaN(tally.Loss) || math.IsInf(tally.Loss, 0) {
			s.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE, params.Step(t.Step), node, -1, "the loss is NaN or infinite")
			continue
		}
		switch s.offerTally(params.Step(t.Step), Tally{
			Shard: int(tally.Shard), Images: int(tally.Images),
			Loss: tally.Loss, Top1: int(tally.Top1), Top5: int(tally.Top5),
		}) {
		case Counted:
			if s.kind == musterv1.WorkKind_WORK_KIND_GRADIENT {
				s.meter.counted(ses.member.ID, int(tally.Images))
			}
		case Repeated:
			s.counts.repeated++
		case Stale:
			s.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_STALE, params.Step(t.Step), node, -1, "the step has been applied")
		case Future:
			if !s.relaxed.ending {
				s.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_FUTURE, params.Step(t.Step), node, -1, "the step has not begun")
			}
		case Malformed:
			s.refuse(ses, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, params.Step(t.Step), node, -1, "no such shard in this job, or another number of images")
		}
	}
	if s.window != nil {
		s.workDone(ses, t)
	}
}

func (s *Server) offerTally(step params.Step, t Tally) Verdict {
	if s.window != nil {
		return s.window.OfferTally(step, t)
	}
	return s.round.OfferTally(step, t)
}

// mostRefusals is how many refusals may wait for a worker, beside four for each shard:
// far more than one has that hears them, since it sends nothing more of a step once it
// has been asked for the next.
const mostRefusals = 64

// refuse tells a worker that a contribution does not count. Chunk -1 is the
// tally. A contribution that stays not finite ends the job, one that stays malformed
// its session, of which nothing is said any more then.
func (s *Server) refuse(ses *session, reason musterv1.RefusalReason, step params.Step, node params.Node, chunk int, detail string) {
	s.stirred(ses)
	if ses.malformed.away {
		return
	}
	if reason == musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE && !s.names(node, chunk) {
		reason, detail = musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, "no such node or chunk in this job"
	}
	log := s.cfg.Log.With("worker", ses.member.ID, "step", uint64(step), "shards", node.String(), "chunk", chunk)
	switch reason {
	case musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE:
		s.counts.notFinite++
		log.Warn("contribution refused", "reason", detail)
		current, _ := s.store.At()
		if s.window != nil && step >= current && s.window.Refuse(step, node, chunk) >= s.cfg.NotFinite ||
			s.round != nil && step == current && s.round.Refuse(node, chunk) >= s.cfg.NotFinite {
			s.giveUp(step, node)
		}
	case musterv1.RefusalReason_REFUSAL_REASON_STALE, musterv1.RefusalReason_REFUSAL_REASON_MIXED:
		// How a late contribution looks, or one of shards that have moved: nothing is wrong, newer work follows.
		s.counts.repeated++
		log.Debug("contribution refused", "reason", detail)
	default:
		s.counts.malformed++
		log.Warn("contribution refused", "reason", detail)
		if reason == musterv1.RefusalReason_REFUSAL_REASON_MALFORMED {
			ses.noteMalformed(contribution{step, node, chunk}, detail)
		}
	}
	ses.post(func() {
		// One refusal of a node makes the worker compute it again as a whole.
		for _, r := range ses.refusals {
			if r.Step == uint64(step) && int(r.Node.First) == node.First && int(r.Node.End) == node.End {
				return
			}
		}
		if most := mostRefusals + 4*int(s.job.Shards); len(ses.refusals) >= most {
			ses.fault, ses.ended = refused("worker %s takes in nothing: %d refusals wait for it", ses.member.ID, most), true
			return
		}
		ses.refusals = append(ses.refusals, &musterv1.Refusal{
			Reason: reason, Step: uint64(step), Detail: detail,
			Node: &musterv1.Node{First: uint32(node.First), End: uint32(node.End)}, Chunk: uint32(max(chunk, 0)),
		})
		// To compute it again takes the step's parameters, of which some may have been replaced by newer ones.
		if w := ses.given; w != nil && !s.sync.Relaxed && w.Step == uint64(step) && (s.parted() || slices.Contains(ses.holds, w.Step+2)) {
			ses.askAgain(w)
		}
	})
}

// tell asks a session for the work of the round, where it owns shards.
func (s *Server) tell(ses *session) {
	if ses.told != s.assignment.Number {
		ses.told = s.assignment.Number
		a := &musterv1.Assignment{Number: s.assignment.Number, Shards: wireShards(ses.shards), Unowned: wireShards(s.assignment.Unowned())}
		ses.post(func() { ses.assignment = a })
	}
	if s.window != nil {
		s.askNext(ses)
		return
	}
	if s.round == nil || len(ses.shards) == 0 {
		return
	}
	s.expect(ses)
	ses.ask(&musterv1.Work{
		Kind: s.kind, Step: uint64(s.round.step), Epoch: uint32(s.at.Epoch), Batch: uint32(s.at.Batch),
	})
}
