package paramserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	"github.com/muster-train/muster/paramserver/optim"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// ErrOtherJob is what New returns where the checkpoint to go on from is of
// another job or layout.
var ErrOtherJob = errors.New("resume")

// restore takes up a checkpoint, as Config.Resume says, or the initial parameters.
func (s *Server) restore() error {
	if s.cfg.Resume == "none" {
		if err := setAside(s.cfg.CheckpointDir, s.cfg.Log); err != nil {
			return err
		}
	}
	var err error
	if s.checkpoints, err = checkpoint.Open(s.cfg.CheckpointDir, s.cfg.Keep, s.cfg.Log); err != nil {
		return err
	}
	if s.cfg.Term > 0 {
		if err := s.checkpoints.Lead(s.cfg.Term); err != nil {
			return err
		}
	}
	state, path, err := s.begunWith()
	if err != nil {
		return err
	}
	if state == nil {
		s.saving = newWriter(s.checkpoints, "", written{})
		state = s.initial()
		s.startStore(0, 0, state.Parameters, state.Momentum)
		return nil
	}
	if err := s.checkSameJob(state, path); err != nil {
		return err
	}
	if state == s.cfg.State {
		s.unsaved = true
		s.saving = newWriter(s.checkpoints, "", written{})
	} else {
		s.saving = newWriter(s.checkpoints, path, holds(state))
	}
	s.startStore(params.Step(state.Step), state.Samples, state.Parameters, state.Momentum)
	s.data, s.history, s.best = state.Data, state.History, state.Best
	s.counts.notFinite, s.counts.before = state.NotFinite, state.NotFinite
	s.meter.resume(state.Running)
	s.cfg.Log.Info("resumed", "checkpoint", path, "step", state.Step)
	return nil
}

// initial is the state that a job begins with.
func (s *Server) initial() *checkpoint.State {
	layout := s.network.Layout
	state := &checkpoint.State{Layout: layout, Parameters: params.NewVector(layout.Size()), Momentum: params.NewVector(layout.Size())}
	s.network.Initialise(state.Parameters, s.job.Seed)
	return state
}

// begunWith is the state to begin with, where it is from, and nil if the job is new. A
// standby may have lost who led the job long before that died: where both write to one
// directory, there may be a checkpoint of a later step than it has seen.
func (s *Server) begunWith() (*checkpoint.State, string, error) {
	if s.cfg.State == nil {
		return s.findState()
	}
	later, path, err := s.checkpoints.After(s.cfg.State.Step)
	if err == nil {
		err = s.checkSameJob(later, path)
	}
	switch {
	case err == nil:
		return later, path, nil
	case !errors.Is(err, checkpoint.ErrNone):
		s.cfg.Log.Warn("a checkpoint of a later step than what was followed is passed over", "err", err)
	}
	return s.cfg.State, "memory", nil
}

func (s *Server) findState() (*checkpoint.State, string, error) {
	switch s.cfg.Resume {
	case "none":
		return nil, "", nil
	case "auto":
		state, path, err := s.checkpoints.Newest()
		if errors.Is(err, checkpoint.ErrNone) {
			return nil, "", nil
		}
		return state, path, err
	}
	path, err := checkpoint.Find(s.cfg.Resume, checkpoint.WhichNewest, s.cfg.Log)
	if err != nil {
		return nil, "", fmt.Errorf("resume: %w", err)
	}
	state, err := checkpoint.Read(path)
	return state, path, err
}

// checkSameJob refuses a checkpoint of another job or layout. A job may be
// given more epochs than it had.
func (s *Server) checkSameJob(state *checkpoint.State, path string) error {
	if err := checkpoint.CheckLayout(state.Layout, s.network.Layout); err != nil {
		return fmt.Errorf("%w: %s: %w; --resume none begins anew and keeps it, --checkpoint-dir names another directory", ErrOtherJob, path, err)
	}
	var had musterv1.JobSpec
	if err := protojson.Unmarshal(state.Job, &had); err != nil {
		return fmt.Errorf("%s: job specification: %w", path, err)
	}
	epochs := had.Epochs
	if epochs < s.job.Epochs {
		had.Epochs = s.job.Epochs
	}
	if d := wire.JobDifference(s.job, &had); d != "" {
		return fmt.Errorf("%w: %s is of another job: %s; --resume none begins anew and keeps it, --checkpoint-dir names another directory", ErrOtherJob, path, d)
	}
	return s.checkSchedule(state, epochs, path)
}

// checkSchedule refuses more epochs where the schedule follows their number:
// the steps already made would have had other rates.
func (s *Server) checkSchedule(state *checkpoint.State, epochs uint32, path string) error {
	cut := s.cutOf(state.Data)
	at := func(epochs uint32) (optim.Schedule, error) {
		return optim.ParseSchedule(s.job.Schedule, float64(s.job.LearningRate), uint64(cut.EpochImages())*uint64(epochs))
	}
	had, err := at(epochs)
	if err != nil {
		return err
	}
	has, err := at(s.job.Epochs)
	if err != nil {
		return err
	}
	if had.String() != has.String() {
		return fmt.Errorf("%w: %s is of a job of %d epochs, whose schedule %s would have been %s with %d: the steps it has made would have had other rates; --resume none begins anew and keeps it",
			ErrOtherJob, path, epochs, had, has, s.job.Epochs)
	}
	return nil
}

// setAside moves the checkpoints of dir to a new directory within it, so that
// beginning anew loses nothing.
func setAside(dir string, log *slog.Logger) error {
	old, err := filepath.Glob(filepath.Join(dir, "*.ckpt"))
	if err != nil || len(old) == 0 {
		return err
	}
	var to string
	for n := 1; ; n++ {
		to = filepath.Join(dir, fmt.Sprintf("before-%d", n))
		if err := os.Mkdir(to, 0o755); err == nil {
			break
		} else if !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("resume none: %w", err)
		}
	}
	for _, path := range old {
		if err := os.Rename(path, filepath.Join(to, filepath.Base(path))); err != nil {
			return fmt.Errorf("resume none: %w", err)
		}
	}
	log.Info("earlier checkpoints were set aside", "directory", to)
	return nil
}

// save writes a checkpoint of the newest step and waits until it is durable. It
// does nothing where that state has been written, or there is none yet.
func (s *Server) save() error {
	step, _ := s.store.At()
	if s.data.Fingerprint == "" || s.relaxed.torn || s.saving.has(step, s.trained(), s.scored()) {
		return nil
	}
	return <-s.saving.submit(s.snapshot())
}

// saveInBackground writes a checkpoint while training goes on for one step.
func (s *Server) saveInBackground() {
	result := s.saving.submit(s.snapshot())
	s.saving.awaited.Go(func() {
		if err := <-result; err != nil {
			s.cfg.Log.Warn("checkpoint was not written, training goes on", "err", err)
		}
	})
}

// saveDue tells whether a checkpoint within the epoch is wanted and possible.
func (s *Server) saveDue() bool {
	step, _ := s.store.At()
	switch {
	case s.saving.busy():
		return false
	case s.cfg.CheckpointSteps > 0 && s.sync.Relaxed: // what is under way is waited for, and more steps than wanted may be made
		return uint64(step)/uint64(s.cfg.CheckpointSteps) > uint64(s.relaxed.savedAt)/uint64(s.cfg.CheckpointSteps)
	case s.cfg.CheckpointSteps > 0:
		return uint64(step)%uint64(s.cfg.CheckpointSteps) == 0
	case s.cfg.CheckpointEvery > 0:
		return time.Since(s.saving.since()) >= s.cfg.CheckpointEvery
	}
	return false
}

// snapshot is a checkpoint ready to be written; the state stays readable until
// it has been.
func (s *Server) snapshot() snapshot {
	v, wait := s.holdWhole()
	s.relaxed.savedAt = v.Step
	best := s.best != nil && s.best.Step == uint64(v.Step)
	return snapshot{&checkpoint.State{
		Meta: s.meta(v.Step, v.Samples), Layout: s.network.Layout, Parameters: v.Parameters, Momentum: v.Momentum,
	}, s.scored(), best, wait, v.Release}
}

// meta is what a checkpoint of a step says about itself.
func (s *Server) meta(step params.Step, samples uint64) checkpoint.Meta {
	job, err := protojson.Marshal(s.job)
	if err != nil {
		job = json.RawMessage("{}") // a message of plain fields always marshals
	}
	return checkpoint.Meta{
		Job: job, JobHash: s.hash, Network: s.job.Network, Schedule: s.job.Schedule, Data: s.data,
		Step: uint64(step), Samples: samples, Best: s.best, History: s.history, Running: s.meter.running(),
		NotFinite: s.counts.notFinite, Final: s.trained(),
	}
}
