package paramserver

import (
	"context"
	"time"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Status tells what the job is doing.
func (s *Server) Status(ctx context.Context) (*musterv1.StatusResponse, error) {
	var r *musterv1.StatusResponse
	err := s.do(ctx, func() { r = s.status() })
	return r, err
}

func (s *Server) status() *musterv1.StatusResponse {
	step, samples := s.store.At()
	path, saved := s.saving.newestStep()
	split, stalled := s.meter.split, false
	split.Wait = s.meter.sofarPaused(time.Now())
	if s.round != nil || s.window != nil {
		split, stalled = s.meter.sofar(s.kind), s.stalled()
	}
	r := &musterv1.StatusResponse{
		Job: s.job, JobHash: s.hash, Step: uint64(step), Samples: samples,
		Epoch: uint32(s.at.Epoch), Batch: uint32(s.at.Batch), LearningRate: float64(s.rate),
		Loss: s.meter.last.Loss, Accuracy: s.meter.last.Accuracy, ImagesPerSecond: s.meter.speed,
		Phase: s.phase, Synthetic: s.data.Synthetic,
		RefusedNotFinite: s.counts.notFinite - s.counts.before, RefusedMalformed: s.counts.malformed, RepeatedContributions: s.counts.repeated,
		Checkpoint: path, CheckpointStep: uint64(saved), ResumedStep: uint64(s.resumed),
		GradientBytes: s.traffic.gradients.Load(), ParameterBytes: s.traffic.parameters.Load(),
		Split: &musterv1.TimeSplit{
			ComputeSeconds: split.Compute.Seconds(), ExchangeSeconds: split.Exchange.Seconds(), WaitSeconds: split.Wait.Seconds(),
			EvaluateSeconds: split.Evaluate.Seconds(), Images: uint64(split.Images),
		},
	}
	r.Parts = s.partStatus(r)
	r.Term = s.term.Load()
	for _, f := range s.followers {
		r.Standbys = append(r.Standbys, &musterv1.StandbyStatus{Server: f.server, Address: f.address, Following: f.admitted && f.made() > 0})
	}
	if s.cfg.MinWorkers > 1 {
		r.MinWorkers = uint32(s.cfg.MinWorkers)
	}
	if c := s.stale(); c != nil {
		r.Staleness = &musterv1.Staleness{Mean: c.Mean, Max: c.Max, StepsAhead: uint32(c.Ahead)}
	}
	if !s.ended() { // then its workers have gone, and nothing waits for others
		r.UnownedShards = wireShards(s.unowned())
	}
	if s.data.Fingerprint != "" {
		r.Batches = uint32(s.cut.Steps())
		r.TotalSteps = uint64(s.cut.Steps()) * uint64(s.job.Epochs)
		r.RemainingSeconds = s.remaining().Seconds()
	}
	if stalled || r.Phase == "waiting" {
		// There is no speed now, and no telling when there will be.
		r.Phase, r.ImagesPerSecond, r.RemainingSeconds = "waiting", 0, 0
	}
	for i, e := range s.history {
		score := &musterv1.Score{Step: e.Step, Epoch: uint32(e.Epoch), Loss: float64(e.TestLoss), Top1: float64(e.Top1), Top5: float64(e.Top5)}
		if i == len(s.history)-1 {
			r.Last = score
		}
		if s.best != nil && s.best.Step == e.Step {
			r.Best = score
		}
	}
	for _, m := range s.members {
		load := s.meter.workers[m.ID]
		w := &musterv1.WorkerStatus{
			Worker: m.ID, Host: m.Host, Device: m.Device, Shards: wireShards(s.assignment.Shards(m.ID)), Connected: s.sessions[m.ID] != nil,
			ComputeSeconds: load.seconds, Images: load.images, RelativeSpeed: s.pace.Speed(m.ID), Straggler: s.pace.Straggler(m.ID),
		}
		if ses := s.sessions[m.ID]; ses != nil {
			w.Transport, w.Hung = ses.transport, ses.hung
		}
		if m.Pinned >= 0 {
			w.Pinned = &musterv1.PinnedShard{Index: uint32(m.Pinned), Count: s.job.Shards}
		}
		r.Workers = append(r.Workers, w)
	}
	return r
}

// unowned are the shards without an owner: all, before any worker has had one.
func (s *Server) unowned() []int {
	if len(s.assignment.Owner) > 0 {
		return s.assignment.Unowned()
	}
	all := make([]int, s.job.Shards)
	for i := range all {
		all[i] = i
	}
	return all
}

// Stop ends the job at its newest whole step, as the end of Run's context would.
func (s *Server) Stop(ctx context.Context, reason string) (*musterv1.StopResponse, error) {
	r := &musterv1.StopResponse{}
	err := s.do(ctx, func() {
		s.stop = "stopped: " + reason
		step, _ := s.store.At()
		r.Step = uint64(step)
		s.cfg.Log.Info("stop was asked for", "reason", reason)
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-s.over:
		path, saved := s.saving.newestStep()
		r.Checkpoint = path
		if path != "" { // steps under way were made whole first, or could not be, or were lost with a part
			r.Step = uint64(saved)
		}
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Checkpoint writes a checkpoint of the newest whole step and returns when it is durable.
func (s *Server) Checkpoint(ctx context.Context) (*musterv1.CheckpointResponse, error) {
	type submitted struct {
		step   uint64
		result <-chan error // nil: nothing was
	}
	ready := make(chan submitted, 1)
	err := s.do(ctx, func() {
		s.whenDrained(func(whole bool) {
			if s.ended() || s.data.Fingerprint == "" || !whole {
				ready <- submitted{}
				return
			}
			snap := s.snapshot()
			ready <- submitted{snap.state.Step, s.saving.submit(snap)}
		})
	})
	if err != nil {
		return nil, err
	}
	var saving submitted
	select {
	case saving = <-ready:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if saving.result == nil {
		return nil, refused("nothing to save: no worker has joined yet, or the job has ended")
	}
	if err := <-saving.result; err != nil {
		return nil, err
	}
	return &musterv1.CheckpointResponse{Step: saving.step, Path: s.saving.newest()}, nil
}
