package paramserver

import (
	"sync"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// What Store does in a job with relaxed synchronisation: each chunk has one live
// version, which every contribution changes. An update makes a new one beside it, in
// the other of the two vectors, and then changes over: so a reader sees a chunk
// before or after an update and waits for none, and one that is not finite is never
// seen.

// liveChunk is where the live version of a chunk is.
type liveChunk struct {
	mu      sync.RWMutex // guards the fields below; held while values are copied
	version int          // of the two, as Store.version's
	updates uint64       // applied to it in this process's life
}

// relax has every chunk change by itself, from before anybody reads.
func (s *Store) relax() {
	s.live = make([]liveChunk, s.layout.Chunks())
	for chunk := range s.live {
		s.live[chunk].version = s.version(s.step)
	}
}

// Update applies a contribution to a chunk: the sum g of the gradients of some of a
// step's images. g*scale is their part of the mean over the step, share the part of
// its images that they are of; by that much of a step weights decay. Contributions to
// a chunk are applied one after the other. It reports whether the parameters stay
// free of NaN and infinite values; otherwise they stay as they were.
func (s *Store) Update(chunk int, g []float32, scale, rate, share float32) bool {
	r, live := s.layout.Chunk(chunk), &s.live[chunk]
	from, to := live.version, 1-live.version // nobody else changes it
	rule := s.rule
	rule.WeightDecay *= share
	if !rule.Apply(r.Of(s.parameters[to]), r.Of(s.momentum[to]), r.Of(s.parameters[from]), r.Of(s.momentum[from]), g, scale, rate, s.far) {
		return false
	}
	if s.rounds {
		kernel.Round(r.Of(s.seen[to]), r.Of(s.parameters[to]))
	}
	live.mu.Lock() // whoever still reads what will be overwritten next has done so by then
	defer live.mu.Unlock()
	live.version = to
	live.updates++
	return true
}

// Updates is how many contributions have been applied to a chunk.
func (s *Store) Updates(chunk int) uint64 {
	live := &s.live[chunk]
	live.mu.RLock()
	defer live.mu.RUnlock()
	return live.updates
}

// ReadLive returns a chunk of the parameters as workers see them at this moment, to
// be sent, and how many contributions have been applied to it.
func (s *Store) ReadLive(chunk int) (values *wire.Payload, updates uint64) {
	encoding := musterv1.Encoding_ENCODING_F32
	if s.rounds {
		encoding = musterv1.Encoding_ENCODING_BF16
	}
	live := &s.live[chunk]
	live.mu.RLock()
	defer live.mu.RUnlock()
	return wire.Encode(encoding, s.layout.Chunk(chunk).Of(s.seen[live.version])), live.updates
}

// Advance publishes that another step is whole.
func (s *Store) Advance(samples uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step++
	s.samples += samples
}

// copied is Hold: a copy, each chunk of which is as it is at its moment. It is that
// of one step where no contribution is under way.
func (s *Store) copied() Version {
	step, samples := s.At()
	v := Version{step, samples, params.NewVector(s.layout.Size()), params.NewVector(s.layout.Size()), func() {}}
	for chunk := range s.live {
		r, live := s.layout.Chunk(chunk), &s.live[chunk]
		live.mu.RLock()
		copy(r.Of(v.Parameters), r.Of(s.parameters[live.version]))
		copy(r.Of(v.Momentum), r.Of(s.momentum[live.version]))
		live.mu.RUnlock()
	}
	return v
}
