package worker

import (
	"sync"
	"time"
)

// Meter counts what a worker does, for whoever wants to know: it is handed over
// in Config, and may be read by others while the worker runs.
type Meter struct {
	mu sync.Mutex // guards c
	c  Counts
}

// Counts are of the worker's life, but for Joined, Step and Shards, which are of
// the moment.
type Counts struct {
	Joined bool   // the server has taken the worker in, and the stream is open
	Step   uint64 // of the newest piece of work
	Shards int    // owned

	Joins          uint64 // streams opened that the server took in
	Gradients      uint64 // steps whose gradients were computed, of however many shards
	Images         uint64 // trained on
	Evaluated      uint64 // test images
	GradientTime   time.Duration
	EvaluationTime time.Duration
	SentBytes      uint64 // payload of gradients
	ReceivedBytes  uint64 // payload of parameters
	Refusals       uint64 // contributions that the server refused
}

// Counts returns what has been counted so far.
func (m *Meter) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.c
}

// note changes the counts; a nil Meter counts nothing.
func (m *Meter) note(change func(*Counts)) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	change(&m.c)
}
