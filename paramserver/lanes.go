package paramserver

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
)

// task is the arithmetic that Round has decided on for one contribution.
type task struct {
	chunk   int
	outcome Outcome       // with slices of its own
	values  *wire.Payload // live ones of the chunk; the lane's from now on
	scale   float32       // 1 over the images of the round
	rate    float32
}

// lanes do the arithmetic of contributions, each lane that of its chunks in
// the order of the loop's decisions. The loop may wait for a lane, a lane never
// for the loop.
type lanes struct {
	store   *Store
	queues  []chan task
	slots   [][]*wire.Payload // by chunk, then slot; a lane touches those of its chunks alone
	applied chan<- struct{}   // told of each chunk that has become whole

	diverged atomic.Bool // an update made parameters NaN or infinite
}

func newLanes(store *Store, chunks int, applied chan<- struct{}) *lanes {
	l := &lanes{
		store:   store,
		queues:  make([]chan task, min(runtime.GOMAXPROCS(0), chunks)),
		slots:   make([][]*wire.Payload, chunks),
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
		l.take(t.chunk, slot).Free()
	}
	for _, slot := range t.outcome.Add {
		other := l.take(t.chunk, slot)
		kernel.Add(t.values.Floats(), t.values.Floats(), other.Floats())
		other.Free()
	}
	if t.outcome.Complete {
		if !l.store.Apply(t.chunk, l.store.layout.Unpack(whole, t.values.Floats(), t.chunk), t.scale, t.rate) {
			l.diverged.Store(true)
		}
		t.values.Free()
		l.applied <- struct{}{}
		return
	}
	for len(l.slots[t.chunk]) <= t.outcome.Slot {
		l.slots[t.chunk] = append(l.slots[t.chunk], nil)
	}
	l.slots[t.chunk][t.outcome.Slot] = t.values
}

func (l *lanes) take(chunk, slot int) *wire.Payload {
	p := l.slots[chunk][slot]
	l.slots[chunk][slot] = nil
	return p
}
