package paramserver

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Result is how a job ended.
type Result struct {
	Step       params.Step
	Samples    uint64
	Hash       string // of the parameters
	Epochs     []checkpoint.EpochScore
	Best       *checkpoint.Score
	Checkpoint string // newest checkpoint
	Synthetic  bool
	Already    bool   // the job had been finished before
	Request    string // why a Stop call ended it; empty: none did
	Split      Split
	Standbys   int        // that had every step when the job ended here
	Staleness  *Staleness // nil: gradients were applied together
	// Torn tells that steps were under way when the job was stopped, and could not be made
	// whole, or were lost with a part: the state was not saved, and the job goes on from
	// Resumes, the step of Checkpoint.
	Torn    bool
	Resumes params.Step
}

// ErrStopped is what Run returns when its context or a Stop call ended the job
// early; the state has been saved, unless Result.Torn.
var ErrStopped = errors.New("stopped")

// ErrDeposed is what Run returns when another server leads the job: what this one has
// done since is that one's to do again, with the same bits.
var ErrDeposed = errors.New("another server leads the job")

// ErrNotFinite is what Run returns when gradients stayed NaN or infinite.
var ErrNotFinite = errors.New("gradients are not finite")

// Depose ends the job here, because another server leads it, of a higher term.
func (s *Server) Depose(leader string, term uint64) {
	_ = s.do(context.Background(), func() { s.depose(fmt.Sprintf("%s, of term %d", leader, term)) })
}

// Lead notes that this server leads in a new term.
func (s *Server) Lead(ctx context.Context, term uint64) (err error) {
	if ended := s.do(ctx, func() {
		s.term.Store(term)
		s.saver.term.Store(term)
		err = s.checkpoints.Lead(term)
	}); ended != nil {
		return ended
	}
	return err
}

func (s *Server) depose(leader string) {
	if s.failure == nil {
		s.failure = fmt.Errorf("%w: %s; this one is of term %d", ErrDeposed, leader, s.term.Load())
	}
}

// finish is loop, and the checkpoint of its end.
func (s *Server) finish(ctx context.Context) error {
	if err := s.loop(ctx); err != nil {
		return err
	}
	return unsaved(s.save())
}

// saveStopped writes the checkpoint of a job that is stopped. Where a part has gone at
// the same time, the newest step is lost with it, and the job goes on from an earlier one.
func (s *Server) saveStopped() error {
	err := s.save()
	if errors.Is(err, errPartLost) {
		s.cfg.Log.Warn("the state at the end was not saved", "err", err)
		return ErrStopped
	}
	return cmp.Or(unsaved(err), ErrStopped)
}

func unsaved(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("the state at the end was not saved: %w", err)
}

// dismiss tells every worker that the job has ended, and waits a little for
// them to go.
func (s *Server) dismiss(err error, r Result) {
	done := &musterv1.Done{Success: err == nil, Step: uint64(r.Step), ParametersSha256: r.Hash}
	if err != nil {
		done.Reason = err.Error()
	}
	s.round = nil
	if s.handover != nil {
		s.handover.Stop()
	}
	if s.silence != nil {
		s.silence.Stop()
	}
	// A server that was stopped comes back: its workers and the other parts wait for it.
	comesBack := errors.Is(err, ErrStopped) && s.stop == "" || errors.Is(err, ErrDeposed)
	if !comesBack {
		s.done = done
	}
	for _, worker := range sortedKeys(s.sessions) {
		ses := s.sessions[worker]
		s.bidden[worker] = true
		ses.post(func() { ses.done, ses.ended = s.done, s.done == nil })
	}
	if !comesBack {
		s.order(&musterv1.AssistResponse{Message: &musterv1.AssistResponse_Done{Done: done}})
		for _, f := range s.followers {
			f.orders.add(order[*musterv1.FollowResponse]{message: &musterv1.FollowResponse{Message: &musterv1.FollowResponse_Done{Done: done}}, last: true})
		}
	}
	patience := time.NewTimer(dismissTimeout)
	defer patience.Stop()
	for len(s.sessions) > 0 || !comesBack && (s.onTheirWay() || len(s.missing()) < len(s.others) || len(s.followers) > 0) {
		select {
		case f := <-s.events:
			f()
		case <-patience.C:
			if len(s.sessions) > 0 {
				s.cfg.Log.Warn("workers are still there at the end of the job", "workers", len(s.sessions))
			}
			return
		}
	}
}

// dismissTimeout is how long workers may take to hear of the job's end and go:
// longer than they pause between two tries to connect.
const dismissTimeout = 5 * time.Second

// onTheirWay tells whether there are workers that have not heard of the end yet:
// members, perhaps of an earlier life of this server, between two connections,
// and those that have joined and not connected yet. Workers that were killed
// count until their leases end.
func (s *Server) onTheirWay() bool {
	for _, m := range s.members {
		if !s.bidden[m.ID] {
			return true
		}
	}
	for _, req := range s.joins {
		if !s.bidden[req.Worker] && !s.known[req.Worker] {
			return true
		}
	}
	return !s.watched
}

// phaseAfter is the phase of a job that has ended with err.
func phaseAfter(err error) string {
	switch {
	case err == nil:
		return "done"
	case errors.Is(err, ErrStopped):
		return "stopped"
	}
	return "failed"
}

// linger goes on answering workers and tools after the job's end, until ctx
// ends or a Stop call comes.
func (s *Server) linger(ctx context.Context) {
	for s.stop == "" {
		select {
		case f := <-s.events:
			f()
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) result() Result {
	step, samples := s.store.At()
	v := s.store.Hold()
	defer v.Release()
	standbys := 0
	for _, f := range s.followers {
		if f.admitted && f.made() > 0 { // else it may not have the state yet
			standbys++
		}
	}
	path, saved := s.saving.newestStep()
	return Result{
		Step: step, Samples: samples, Hash: params.Hash(v.Parameters),
		Epochs: s.history, Best: s.best, Checkpoint: path, Synthetic: s.data.Synthetic,
		Already: step == s.resumed && s.trained(), Request: s.stop, Split: s.meter.split,
		Standbys: standbys, Staleness: s.stale(), Torn: s.relaxed.torn || !s.collected(), Resumes: saved,
	}
}

// giveUp ends the job, here or where it is coordinated, because a contribution stays
// not finite.
func (s *Server) giveUp(step params.Step, node params.Node) {
	if s.part == nil {
		s.failure = s.notFinite(step, node)
		return
	}
	s.part.tell(&musterv1.AssistRequest{Message: &musterv1.AssistRequest_Refused{Refused: &musterv1.PartRefused{
		Step: uint64(step), Node: &musterv1.Node{First: uint32(node.First), End: uint32(node.End)}, Course: s.part.course,
	}}})
}

// notFinite is the error that ends a job whose gradients stay not finite.
func (s *Server) notFinite(step params.Step, node params.Node) error {
	return fmt.Errorf("%w: those of shard %v at step %d were refused %d times (NaN or infinite); the last good checkpoint is %s; a lower --lr may help",
		ErrNotFinite, node, step, s.cfg.NotFinite, s.lastGood())
}

// lastGood names the newest checkpoint, for messages; one on its way is waited for.
func (s *Server) lastGood() string {
	s.saving.settle()
	if path := s.saving.newest(); path != "" {
		return path
	}
	return "none yet"
}
