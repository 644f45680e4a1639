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
	values  *wire.Payload // live ones of the chunk, or a view of all; the lane's from now on
	product *product      // in place of values: they are to be formed
	scale   float32       // 1 over the images of the round, or of the step
	rate    float32
	alone   bool    // it is applied by itself
	share   float32 // of the step's images that it is of, where alone
	settled func()  // nothing is to be done but to tell that all before is; nil: there is
}

// lanes do the arithmetic of contributions, each lane that of its chunks in
// the order of the loop's decisions. The loop may wait for a lane, a lane never
// for the loop.
type lanes struct {
	store   *Store
	sum     func(dst, x, y []float32) // dst = x + y, rounded as sums of the job are
	queues  []chan task
	slots   [][]*wire.Payload // by chunk, then slot; a lane touches those of its chunks alone
	applied chan<- struct{}   // told of each chunk that has become whole

	followed atomic.Pointer[[]*follower] // standbys that are sent every sum; nil: none

	alone    atomic.Uint64 // contributions that were applied by themselves
	diverged atomic.Bool   // an update made parameters NaN or infinite
}

func newLanes(store *Store, chunks int, applied chan<- struct{}) *lanes {
	l := &lanes{
		store:   store,
		sum:     kernel.Add,
		queues:  make([]chan task, min(runtime.GOMAXPROCS(0), chunks)),
		slots:   make([][]*wire.Payload, chunks),
		applied: applied,
	}
	for i := range l.queues {
		l.queues[i] = make(chan task, 16)
	}
	return l
}

// room is what a lane works with: of a chunk each.
type room [2][]float32

// run works until close.
func (l *lanes) run() {
	var all sync.WaitGroup
	for _, queue := range l.queues {
		all.Go(func() {
			var room room
			for i := range room {
				room[i] = params.NewVector(params.ChunkValues)
			}
			for t := range queue {
				l.do(t, &room)
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

// abandon drops all that waits for siblings, once what was submitted is done: the
// round has been given up. Nothing may be submitted meanwhile.
func (l *lanes) abandon() {
	var all sync.WaitGroup
	for _, q := range l.queues {
		all.Add(1)
		q <- task{settled: all.Done}
	}
	all.Wait()
	for chunk := range l.slots {
		for slot := range l.slots[chunk] {
			if p := l.take(chunk, slot); p != nil {
				p.Free()
			}
		}
	}
	l.diverged.Store(false)
}

// submit hands a task to the lane of its chunk. The outcome's slices are copied.
func (l *lanes) submit(t task) {
	t.outcome.Add = slices.Clone(t.outcome.Add)
	t.outcome.Drop = slices.Clone(t.outcome.Drop)
	l.queues[t.chunk%len(l.queues)] <- t
}

// do does a task.
func (l *lanes) do(t task, room *room) {
	if t.settled != nil {
		t.settled()
		return
	}
	if t.product != nil {
		t.values = t.product.form(t.chunk)
	}
	if t.alone {
		l.doAlone(t, room)
		return
	}
	for _, slot := range t.outcome.Drop {
		l.take(t.chunk, slot).Free()
	}
	for _, slot := range t.outcome.Add {
		t.values = l.add(t.chunk, t.values, l.take(t.chunk, slot), room)
	}
	if t.outcome.Complete {
		if f := l.followed.Load(); f != nil && len(*f) > 0 {
			step, _ := l.store.At()
			for _, f := range *f {
				f.send(step, t.chunk, l.live(t.chunk, t.values, room[0]))
			}
		}
		if !l.store.Apply(t.chunk, l.whole(t, room), t.scale, t.rate) {
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

// doAlone applies a contribution by itself.
func (l *lanes) doAlone(t task, room *room) {
	if !l.store.Update(t.chunk, l.whole(t, room), t.scale, t.rate, t.share) {
		l.diverged.Store(true)
	}
	t.values.Free()
	l.alone.Add(1)
	// The loop looks after this: where it has as much to be told as there is room for, it will.
	select {
	case l.applied <- struct{}{}:
	default:
	}
}

// whole is a task's values with those that are not live.
func (l *lanes) whole(t task, room *room) []float32 {
	if t.values.IsView() {
		return t.values.Floats()
	}
	return l.store.layout.Unpack(room[0], t.values.Floats(), t.chunk)
}

func (l *lanes) take(chunk, slot int) *wire.Payload {
	p := l.slots[chunk][slot]
	l.slots[chunk][slot] = nil
	return p
}

// add returns the sum of two contributions to a chunk, which it takes over. It is
// a payload of live values, in the memory of one of them unless both are views.
func (l *lanes) add(chunk int, a, b *wire.Payload, room *room) *wire.Payload {
	sum := a
	switch {
	case !a.IsView():
	case !b.IsView():
		sum = b // a + b is b + a
	default:
		sum = wire.NewPayload(l.store.layout.Live(chunk))
	}
	l.sum(sum.Floats(), l.live(chunk, a, room[0]), l.live(chunk, b, room[1]))
	for _, p := range []*wire.Payload{a, b} {
		if p != sum {
			p.Free()
		}
	}
	return sum
}

// live returns the live values of a contribution, in dst where they are not by themselves.
func (l *lanes) live(chunk int, p *wire.Payload, dst []float32) []float32 {
	layout, values := l.store.layout, p.Floats()
	if !p.IsView() || layout.Live(chunk) == len(values) {
		return values
	}
	return layout.PackChunk(dst, values, chunk)
}
