package paramserver

import (
	"time"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	"github.com/muster-train/muster/paramserver/optim"
)

// The steps of the job, and how far it has come.

// planJob fixes what depends on the size of the training set.
func (s *Server) planJob() error {
	s.cut = s.cutOf(s.data)
	if err := s.cut.Validate(); err != nil {
		return err
	}
	var err error
	s.schedule, err = optim.ParseSchedule(s.job.Schedule, float64(s.job.LearningRate), uint64(s.cut.EpochImages())*uint64(s.job.Epochs))
	return err
}

// cutOf is how the job's steps take their images from data.
func (s *Server) cutOf(data checkpoint.Data) dataset.Cut {
	return dataset.Cut{Images: data.TrainImages, Shards: int(s.job.Shards), Batch: int(s.job.Batch), Limit: int(s.job.LimitBatches)}
}

// position is the place of a step in its job.
func (s *Server) position(step params.Step) dataset.Position {
	n := s.cut.Steps()
	return dataset.Position{Epoch: int(step) / n, Batch: int(step) % n}
}

// trained tells whether all epochs are done.
func (s *Server) trained() bool {
	step, _ := s.store.At()
	return s.data.Fingerprint != "" && s.position(step).Epoch >= int(s.job.Epochs)
}

// timeIsUp tells, and says, that training has taken MaxTime; one step is made
// however short that is.
func (s *Server) timeIsUp() bool {
	if !s.outOfTime() {
		return false
	}
	step, _ := s.store.At()
	s.cfg.Log.Info("time is up", "max-time", s.cfg.MaxTime, "step", uint64(step))
	return true
}

// outOfTime is timeIsUp without a word.
func (s *Server) outOfTime() bool {
	step, _ := s.store.At()
	return s.cfg.MaxTime != 0 && step != s.resumed && time.Since(s.started) >= s.cfg.MaxTime
}

// scored tells whether the newest step has been evaluated, or is the first.
func (s *Server) scored() bool {
	step, _ := s.store.At()
	n := len(s.history)
	return step == 0 || n > 0 && s.history[n-1].Step == uint64(step)
}

// epochEnded tells whether the newest step is the last of its epoch.
func (s *Server) epochEnded() bool {
	step, _ := s.store.At()
	return step > 0 && s.position(step).Batch == 0
}
