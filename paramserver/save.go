package paramserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

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
	state, path, err := s.findState()
	if err != nil {
		return err
	}
	layout := s.network.Layout
	if state == nil {
		w := params.NewVector(layout.Size())
		s.network.Initialise(w, s.job.Seed)
		s.store = NewStore(layout, rule(s.job), 0, 0, w, params.NewVector(layout.Size()))
		return nil
	}
	if err := s.checkSameJob(state, path); err != nil {
		return err
	}
	s.store = NewStore(layout, rule(s.job), params.Step(state.Step), state.Samples, state.Parameters, state.Momentum)
	s.data, s.history, s.best = state.Data, state.History, state.Best
	s.counts.notFinite = state.NotFinite
	s.cfg.Log.Info("resumed", "checkpoint", path, "step", state.Step)
	return nil
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
		return fmt.Errorf("%s: %w; --resume none begins anew and keeps it, --checkpoint-dir names another directory", path, err)
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
		return fmt.Errorf("%s is of another job: %s; --resume none begins anew and keeps it, --checkpoint-dir names another directory", path, d)
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

// save writes a checkpoint of the newest step and waits until it is durable.
func (s *Server) save(final bool) error {
	if step, _ := s.store.At(); s.data.Fingerprint == "" || final && s.saving.savedFinal(step, s.trained()) {
		return nil
	}
	return s.saving.write(s.snapshot(final && s.trained()))
}

// saveInBackground writes a checkpoint while training goes on for one step.
func (s *Server) saveInBackground() { s.saving.submit(s.snapshot(false)) }

// saveDue tells whether a checkpoint within the epoch is wanted and possible.
func (s *Server) saveDue() bool {
	step, _ := s.store.At()
	switch {
	case s.saving.busy():
		return false
	case s.cfg.CheckpointSteps > 0:
		return uint64(step)%uint64(s.cfg.CheckpointSteps) == 0
	case s.cfg.CheckpointEvery > 0:
		return time.Since(s.saving.since()) >= s.cfg.CheckpointEvery
	}
	return false
}

// snapshot is a checkpoint ready to be written; the state stays readable until
// it has been.
func (s *Server) snapshot(final bool) snapshot {
	v := s.store.Hold()
	job, err := protojson.Marshal(s.job)
	if err != nil {
		job = json.RawMessage("{}") // a message of plain fields always marshals
	}
	best := s.best != nil && s.best.Step == uint64(v.Step)
	return snapshot{&checkpoint.State{
		Meta: checkpoint.Meta{
			Job: job, JobHash: s.hash, Network: s.job.Network, Schedule: s.job.Schedule, Data: s.data,
			Step: uint64(v.Step), Samples: v.Samples, Best: s.best, History: s.history,
			NotFinite: s.counts.notFinite, Final: final,
		},
		Layout: s.network.Layout, Parameters: v.Parameters, Momentum: v.Momentum,
	}, best, v.Release}
}

// snapshot is a state to write, whether it is the best so far, and what to call
// when it has been read.
type snapshot struct {
	state   *checkpoint.State
	best    bool
	release func()
}

// writer writes checkpoints one after the other, beside the loop.
type writer struct {
	store *checkpoint.Store
	log   *slog.Logger
	queue chan func()

	mu    sync.Mutex // guards the fields below
	path  string     // newest written
	step  params.Step
	final bool
	at    time.Time // when the last was asked for
	works bool
}

func newWriter(store *checkpoint.Store, log *slog.Logger) *writer {
	w := &writer{store: store, log: log, queue: make(chan func(), 1), at: time.Now()}
	if _, path, err := store.Newest(); err == nil {
		w.path = path
	}
	return w
}

func (w *writer) run() {
	for f := range w.queue {
		f()
	}
}

func (w *writer) close() { close(w.queue) }

// write waits for what is being written, then writes s.
func (w *writer) write(s snapshot) error {
	result := make(chan error, 1)
	w.start(func() { result <- w.do(s) })
	return <-result
}

// submit writes s in the background.
func (w *writer) submit(s snapshot) {
	w.start(func() {
		if err := w.do(s); err != nil {
			w.log.Warn("checkpoint was not written, training goes on", "err", err)
		}
	})
}

func (w *writer) start(f func()) {
	w.mu.Lock()
	w.works, w.at = true, time.Now()
	w.mu.Unlock()
	w.queue <- f
}

func (w *writer) do(s snapshot) error {
	path, err := w.store.Save(context.Background(), s.state, s.best)
	s.release()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.works = false
	if err == nil {
		w.path, w.step, w.final = path, params.Step(s.state.Step), s.state.Final
		w.log.Debug("checkpoint written", "path", path)
	}
	return err
}

func (w *writer) busy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.works
}

func (w *writer) since() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

// newest is the path of the newest durable checkpoint; empty: none.
func (w *writer) newest() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.path
}

// savedFinal tells whether step has been written as it is to be left at the end.
func (w *writer) savedFinal(step params.Step, final bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.path != "" && w.step == step && w.final == final && step > 0
}

// Describe names a job in one line, for messages.
func Describe(j *musterv1.JobSpec) string {
	return fmt.Sprintf("%s, %d shards, batch %d, %d epochs, seed %d, lr %v, %s",
		strings.Join([]string{j.Name, j.Network}, " "), j.Shards, j.Batch, j.Epochs, j.Seed, j.LearningRate, j.Schedule)
}
