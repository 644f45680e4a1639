package paramserver

import (
	"context"
	"sync"
	"time"

	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// snapshot is a state to write, whether it has been evaluated and is the best
// so far, what to wait for before it is read, and what to call when it has been.
type snapshot struct {
	state        *checkpoint.State
	scored, best bool
	wait         func() error
	release      func()
}

// writer writes checkpoints one after the other, in the order in which the loop
// submits them, beside the loop.
type writer struct {
	store   *checkpoint.Store
	queue   chan func()
	awaited sync.WaitGroup // of those who wait for a result in the background

	mu    sync.Mutex // guards the fields below
	path  string     // newest written
	holds written
	at    time.Time // when the last was submitted
	left  int       // submitted and not written
}

// written says what the newest checkpoint holds.
type written struct {
	step          params.Step
	final, scored bool
}

// holds is what a checkpoint that was read holds.
func holds(state *checkpoint.State) written {
	n := len(state.History)
	return written{params.Step(state.Step), state.Final, n > 0 && state.History[n-1].Step == state.Step}
}

// newWriter writes to store, whose newest checkpoint is at path; empty: none.
func newWriter(store *checkpoint.Store, path string, holds written) *writer {
	// Submissions rarely wait: at most the two versions that there are, and tools' calls.
	return &writer{store: store, queue: make(chan func(), 16), at: time.Now(), path: path, holds: holds}
}

func (w *writer) run() {
	for f := range w.queue {
		f()
	}
}

// close ends run once all that was submitted is written. Nothing may be
// submitted any more.
func (w *writer) close() {
	close(w.queue)
	w.awaited.Wait()
}

// submit has s written; the channel gives the result. Only the loop calls it.
func (w *writer) submit(s snapshot) <-chan error {
	w.mu.Lock()
	w.left, w.at = w.left+1, time.Now()
	w.mu.Unlock()
	result := make(chan error, 1)
	w.queue <- func() { result <- w.write(s) }
	return result
}

func (w *writer) write(s snapshot) error {
	path, err := "", s.wait()
	if err == nil {
		path, err = w.store.Save(context.Background(), s.state, s.best)
	}
	s.release()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left--
	if err == nil {
		w.path, w.holds = path, written{params.Step(s.state.Step), s.state.Final, s.scored}
	}
	return err
}

// settle waits until everything submitted is written.
func (w *writer) settle() {
	done := make(chan struct{})
	w.queue <- func() { close(done) }
	<-done
}

// busy tells whether something is still to be written.
func (w *writer) busy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left > 0
}

// since is when the last checkpoint was submitted.
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

// newestStep is newest, and the step it is of.
func (w *writer) newestStep() (path string, step params.Step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.path, w.holds.step
}

// took makes another checkpoint the newest, since that can't be read.
func (w *writer) took(path string, state *checkpoint.State) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.path, w.holds = path, holds(state)
}

// has tells whether the newest checkpoint is of a step, and says the same of it.
func (w *writer) has(step params.Step, final, scored bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.path != "" && w.holds == written{step, final, scored}
}
