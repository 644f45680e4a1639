package paramserver

import (
	"context"

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
	r := &musterv1.StatusResponse{
		Job: s.job, JobHash: s.hash, Step: uint64(step), Samples: samples,
		Epoch: uint32(s.at.Epoch), LearningRate: float64(s.rate), Loss: s.meter.last.Loss,
		ImagesPerSecond: s.meter.speed, Phase: s.phase, UnownedShards: wireShards(s.assignment.Unowned()),
		RefusedNotFinite: s.counts.notFinite, RefusedMalformed: s.counts.malformed, RepeatedContributions: s.counts.repeated,
		Checkpoint: s.saving.newest(),
	}
	if s.data.Fingerprint != "" {
		r.TotalSteps = uint64(s.cut.Steps()) * uint64(s.job.Epochs)
	}
	for _, m := range s.members {
		ses := s.sessions[m.ID]
		r.Workers = append(r.Workers, &musterv1.WorkerStatus{
			Worker: m.ID, Host: m.Host, Device: m.Device, Shards: wireShards(s.assignment.Shards(m.ID)), Connected: ses != nil,
		})
	}
	return r
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
		r.Checkpoint = s.saving.newest()
		return r, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Checkpoint writes a checkpoint of the newest whole step and returns when it is durable.
func (s *Server) Checkpoint(ctx context.Context) (*musterv1.CheckpointResponse, error) {
	r := &musterv1.CheckpointResponse{}
	var result <-chan error
	err := s.do(ctx, func() {
		if s.ended() || s.data.Fingerprint == "" {
			return
		}
		snap := s.snapshot()
		r.Step = snap.state.Step
		result = s.saving.submit(snap)
	})
	if err != nil {
		return nil, err
	}
	if result == nil {
		return nil, refused("nothing to save: no worker has joined yet, or the job has ended")
	}
	if err := <-result; err != nil {
		return nil, err
	}
	r.Path = s.saving.newest()
	return r, nil
}
