package paramserver

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/optim"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Store holds the parameters and their momentum at the newest whole step, and
// makes those of the next one beside them, chunk by chunk.
//
// Where workers compute with rounded parameters, Store keeps these beside the
// others, its own, which updates and checkpoints go by.
//
// Two versions of both vectors take turns: even steps have the first, odd ones the
// second. So a step stays readable until the next is whole, however long its round
// takes, and a checkpoint reads the newest version without a copy while the next is
// being made. Of the next, every chunk can be read as soon as it is made.
//
// In a job with relaxed synchronisation there is one version, of which each chunk
// changes by itself: see live.go.
//
// Apply may be called from several goroutines for different chunks; Has, Read
// and Hold from any; Begin and Commit from the loop alone.
type Store struct {
	layout *params.Layout
	rule   optim.Rule
	far    bool // what Apply makes has no room in the caches

	mu         sync.RWMutex // guards step, samples and void; held while values are copied
	step       params.Step  // the newest whole one
	samples    uint64
	void       bool // another state is being brought in: see Settle
	parameters [2][]float32
	momentum   [2][]float32
	seen       [2][]float32  // by workers: the parameters themselves, unless rounds
	rounds     bool          // what workers see is rounded to bfloat16
	shared     *wire.Segment // that what workers see is in; nil: this process's own memory

	live  []liveChunk       // by chunk: of a job with relaxed synchronisation; nil: of another
	made  []atomic.Bool     // by chunk: the next step's is
	holds [2]sync.WaitGroup // readers that keep a version from being overwritten
}

// farValues is how many parameters are so many that two versions of them and of
// their momentum, 16 bytes for each, are not kept in the caches between steps.
const farValues = 1 << 20

// NewStore starts at a step with given vectors, which it takes over.
func NewStore(layout *params.Layout, rule optim.Rule, step params.Step, samples uint64, parameters, momentum []float32) *Store {
	s := &Store{
		layout:  layout,
		rule:    rule,
		far:     layout.Size() >= farValues && params.Aligned(parameters) && params.Aligned(momentum),
		step:    step,
		samples: samples,
		made:    make([]atomic.Bool, layout.Chunks()),
	}
	v := s.version(step)
	s.parameters[v], s.parameters[1-v] = parameters, params.NewVector(layout.Size())
	s.momentum[v], s.momentum[1-v] = momentum, params.NewVector(layout.Size())
	s.seen = s.parameters
	return s
}

// round has workers see parameters rounded to bfloat16, from before anybody reads them.
func (s *Store) round() {
	s.rounds = true
	for i := range s.seen {
		s.seen[i] = params.NewVector(s.layout.Size())
	}
	v := s.version(s.step)
	kernel.Round(s.seen[v], s.parameters[v])
}

// version is which of the two a step has.
func (s *Store) version(step params.Step) int { return int(step % 2) }

// At returns the newest whole step, and the samples applied up to it.
func (s *Store) At() (step params.Step, samples uint64) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.step, s.samples
}

// Has tells whether a chunk of the parameters at a step can be read: step is the
// newest whole one, or the next, at which the chunk has been made already.
func (s *Store) Has(step params.Step, chunk int) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.has(step, chunk)
}

// has is Has. Callers hold mu.
func (s *Store) has(step params.Step, chunk int) bool {
	return !s.void && (step == s.step || step == s.step+1 && s.made[chunk].Load())
}

// Read returns a chunk of the parameters at a step, as workers see them, to be
// sent; nil where Has would be false.
func (s *Store) Read(step params.Step, chunk int) *wire.Payload {
	encoding := musterv1.Encoding_ENCODING_F32
	if s.rounds {
		encoding = musterv1.Encoding_ENCODING_BF16
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if !s.has(step, chunk) {
		return nil
	}
	return wire.Encode(encoding, s.layout.Chunk(chunk).Of(s.seen[s.version(step)]))
}

// View returns the values of a chunk at a step, as workers see them, themselves; nil
// where Has would be false. They hold still until a chunk of the step after the next
// is made.
func (s *Store) View(step params.Step, chunk int) []float32 {
	if !s.Has(step, chunk) {
		return nil
	}
	return s.layout.Chunk(chunk).Of(s.seen[s.version(step)])
}

// Vectors is the vectors of parameters that workers see, at even and at odd steps.
func (s *Store) Vectors() [2][]float32 { return s.seen }

// share moves the vectors that workers see to memory that other processes can map,
// before anybody reads them. The memory lives as long as the store.
func (s *Store) share(memory *wire.Segment) {
	for i := range s.seen {
		v := memory.Vector(i)
		copy(v, s.seen[i])
		s.seen[i] = v
	}
	if !s.rounds {
		s.parameters = s.seen
	}
	s.shared = memory
	runtime.AddCleanup(s, (*wire.Segment).Close, memory)
}

// Settle waits until nobody holds a version. From then on until Take, nothing can be
// read, and nobody may call Apply or Hold.
func (s *Store) Settle() {
	s.mu.Lock()
	s.void = true
	s.mu.Unlock()
	for v := range s.holds {
		s.holds[v].Wait()
	}
}

// Load brings a chunk of the state at a step in, for Take.
func (s *Store) Load(step params.Step, r params.Range, m *musterv1.PartState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.version(step)
	return wire.ReadPartState(r.Of(s.parameters[v]), r.Of(s.momentum[v]), m)
}

// LoadAll is Load for all chunks.
func (s *Store) LoadAll(step params.Step, parameters, momentum []float32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.version(step)
	copy(s.parameters[v], parameters)
	copy(s.momentum[v], momentum)
}

// Take makes the state that was brought in for a step the newest, as if the store had
// begun with it.
func (s *Store) Take(step params.Step, samples uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v := s.version(step); s.rounds {
		kernel.Round(s.seen[v], s.parameters[v])
	}
	s.step, s.samples, s.void = step, samples, false
	for chunk := range s.made {
		s.made[chunk].Store(false)
	}
}

// Version is the whole state at one step, for reading.
type Version struct {
	Step                 params.Step
	Samples              uint64
	Parameters, Momentum []float32
	Release              func() // must be called once the vectors are not read any more
}

// Hold returns the newest version and keeps it from being overwritten until
// Release: training goes on for one step and then waits.
func (s *Store) Hold() Version {
	if s.live != nil {
		return s.copied()
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	v := s.version(s.step)
	hold := &s.holds[v]
	hold.Add(1)
	return Version{s.step, s.samples, s.parameters[v], s.momentum[v], sync.OnceFunc(hold.Done)}
}

// Begin makes ready for a round: it waits until nobody reads the version that
// the round will overwrite.
func (s *Store) Begin() { s.holds[s.version(s.step+1)].Wait() }

// Apply makes a chunk of the next step from the sum g of the gradients of the
// round: see optim.Rule, with g*scale as the gradient. It reports whether the
// parameters are free of NaN and infinite values; such can't be read.
func (s *Store) Apply(chunk int, g []float32, scale, rate float32) bool {
	r, from, to := s.layout.Chunk(chunk), s.version(s.step), s.version(s.step+1)
	finite := s.rule.Apply(r.Of(s.parameters[to]), r.Of(s.momentum[to]), r.Of(s.parameters[from]), r.Of(s.momentum[from]), g, scale, rate, s.far)
	if s.rounds {
		kernel.Round(r.Of(s.seen[to]), r.Of(s.parameters[to]))
	}
	s.made[chunk].Store(finite)
	return finite
}

// Commit publishes the next step, all of whose chunks have been applied.
func (s *Store) Commit(samples uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step++
	s.samples += samples
	for chunk := range s.made {
		s.made[chunk].Store(false)
	}
}
