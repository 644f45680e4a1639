package paramserver

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/params"
)

// buffer holds the values of one contribution while it travels through the server.
type buffer struct {
	values []float32 // live ones of a chunk
	memory *[params.ChunkValues]float32
}

var buffers = sync.Pool{New: func() any { return new([params.ChunkValues]float32) }}

func newBuffer(n int) buffer {
	m := buffers.Get().(*[params.ChunkValues]float32)
	return buffer{m[:n], m}
}

func (b buffer) free() { buffers.Put(b.memory) }

// task is the arithmetic that Round has decided on for one contribution.
type task struct {
	chunk   int
	outcome Outcome // with slices of its own
	values  buffer  // the lane's from now on
	scale   float32 // 1 over the images of the round
	rate    float32
}

// lanes do the arithmetic of contributions, each lane that of its chunks in
// the order of the loop's decisions. The loop may wait for a lane, a lane never
// for the loop.
type lanes struct {
	store   *Store
	queues  []chan task
	slots   [][]buffer      // by chunk, then slot; a lane touches those of its chunks alone
	applied chan<- struct{} // told of each chunk that has become whole

	diverged atomic.Bool // an update made parameters NaN or infinite
}

func newLanes(store *Store, chunks int, applied chan<- struct{}) *lanes {
	l := &lanes{
		store:   store,
		queues:  make([]chan task, min(runtime.GOMAXPROCS(0), chunks)),
		slots:   make([][]buffer, chunks),
		applied: applied,
	}
	for i := range l.queues {
		l.queues[i] = make(chan task, 16)
	}
	return l
}

// run works until close.
func (l *lanes) run() {
	var all sync.WaitGroup
	for _, queue := range l.queues {
		all.Go(func() {
			whole := make([]float32, params.ChunkValues)
			for t := range queue {
				l.do(t, whole)
			}
		})
	}
	all.Wait()
}

// close ends run once all that was submitted is done.
func (l *lanes) close() {
	for _, q := range l.queues {
		close(q)
	}
}

// submit hands a task to the lane of its chunk. The outcome's slices are copied.
func (l *lanes) submit(t task) {
	t.outcome.Add = slices.Clone(t.outcome.Add)
	t.outcome.Drop = slices.Clone(t.outcome.Drop)
	l.queues[t.chunk%len(l.queues)] <- t
}

// do uses whole for a chunk's gradient with its zeros.
func (l *lanes) do(t task, whole []float32) {
	for _, slot := range t.outcome.Drop {
		l.take(t.chunk, slot).free()
	}
	for _, slot := range t.outcome.Add {
		other := l.take(t.chunk, slot)
		kernel.Add(t.values.values, t.values.values, other.values)
		other.free()
	}
	if t.outcome.Complete {
		l.store.Apply(t.chunk, l.store.layout.Unpack(whole, t.values.values, t.chunk), t.scale, t.rate)
		if !l.store.Finite(t.chunk) {
			l.diverged.Store(true)
		}
		t.values.free()
		l.applied <- struct{}{}
		return
	}
	for len(l.slots[t.chunk]) <= t.outcome.Slot {
		l.slots[t.chunk] = append(l.slots[t.chunk], buffer{})
	}
	l.slots[t.chunk][t.outcome.Slot] = t.values
}

func (l *lanes) take(chunk, slot int) buffer {
	b := l.slots[chunk][slot]
	l.slots[chunk][slot] = buffer{}
	return b
}
