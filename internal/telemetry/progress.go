package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Sample is how training stands after a batch.
type Sample struct {
	Epoch, Epochs   int           // the running epoch counted from 1, and how many the job has
	Batch, Batches  int           // batches of this epoch applied, and how many it has
	Step            uint64        // updates applied since the job began
	Loss, Accuracy  float64       // means over the latest batches; accuracy in 0..1
	ImagesPerSecond float64       // lately
	Remaining       time.Duration // until the job is done; 0: not known yet
}

// EpochResult is what an epoch came to. A value that was not measured is NaN
// and is left out of what is shown.
type EpochResult struct {
	Epoch, Epochs   int     // counted from 1
	Step            uint64  // updates applied since the job began
	TrainLoss       float64 // mean over the epoch's images
	TestLoss        float64 // mean over the test images
	Top1, Top5      float64 // share of the test images, 0..1
	ImagesPerSecond float64 // over the epoch
	Seconds         float64 // the epoch's length
	Synthetic       bool    // the images are the built-in ones, not CIFAR-10
}

// Kind is a way to show progress.
type Kind string

// The kinds of progress. NewProgress takes any other value for Auto.
const (
	Auto     Kind = "auto"     // Terminal on a terminal, else Log
	Terminal Kind = "terminal" // one line that is redrawn, results of epochs above it
	Log      Kind = "log"      // one line of the log every LogEvery and for each epoch
)

// LogEvery is the time between two lines of a Progress that goes to the log.
const LogEvery = 5 * time.Second

// PassEvery is the number of batches between two lines of DebugPass.
const PassEvery = 100

// Progress shows how training goes. It is safe for concurrent use.
type Progress struct {
	log *slog.Logger // constant after NewProgress

	mu   sync.Mutex // guards the fields below
	view view       // nil after Close
}

// view is one way of showing progress; Progress serialises the calls.
type view interface {
	update(Sample)
	epoch(EpochResult)
	close()
}

// NewProgress returns a Progress that draws on stderr or writes to log, as kind
// says. Where stderr is a Console that log writes to as well, lines of the log
// appear above the drawn one. The caller ends it with Close.
func NewProgress(stderr io.Writer, log *slog.Logger, kind Kind) *Progress {
	if drawn(stderr, kind) {
		return &Progress{log: log, view: newBar(stderr)}
	}
	return &Progress{log: log, view: newLines(log, time.Now)}
}

// drawn says whether kind means a line that is redrawn on stderr.
func drawn(stderr io.Writer, kind Kind) bool {
	return kind == Terminal || kind != Log && IsTerminal(stderr)
}

// Update shows s, at once or later; only the newest sample counts.
func (p *Progress) Update(s Sample) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.view != nil {
		p.view.update(s)
	}
}

// Epoch shows the result of an epoch, on a line that stays.
func (p *Progress) Epoch(r EpochResult) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.view != nil {
		p.view.epoch(r)
	}
}

// Close takes a drawn line away and ends its goroutines. Later calls of any
// method but DebugPass do nothing.
func (p *Progress) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.view != nil {
		p.view.close()
		p.view = nil
	}
}

// DebugTest logs the article's own line about the test that follows a pass, at
// level debug.
func (p *Progress) DebugTest(pass int, cost, classificationError float64) {
	p.log.Debug(fmt.Sprintf("Test with Pass %d, Cost %f, {'classification_error_evaluator': %f}", pass, cost, classificationError))
}

// DebugPass logs the article's own line at level debug, for every hundredth
// batch of a pass (an epoch, both counted from 0 here as there). The error is
// the share of the batch's images classified wrongly, 0..1.
func (p *Progress) DebugPass(pass, batch int, cost, classificationError float64) {
	if batch%PassEvery != 0 || !p.log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	p.log.Debug(fmt.Sprintf("Pass %d, Batch %d, Cost %f, {'classification_error_evaluator': %f}",
		pass, batch, cost, classificationError))
}
