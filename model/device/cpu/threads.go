package cpu

import (
	"errors"
	"sync"
	"sync/atomic"
)

// errClosed is returned by Compile after Close.
var errClosed = errors.New("the device is closed")

// A task is work in units that may run in any order and at the same time. do
// runs one unit; thread, below the device's number, names the thread's buffers.
type task interface {
	do(thread, unit int)
}

// pool is the threads of a device. The goroutine that calls run is thread 0.
//
// A step is some tens of short runs, one after the other, so threads look for the
// next for a while before they are parked, and run does not wait for a thread
// that has not begun.
type pool struct {
	threads int

	life    sync.Mutex // guards the fields up to the blank line
	started bool
	closed  bool
	ended   sync.WaitGroup

	busy sync.Mutex // held for a whole run

	// Written while no other thread is in, read by those that are.
	task  task
	units int

	shares []share      // of the units, one for each thread
	open   atomic.Bool  // threads that come in may take units
	in     atomic.Int64 // threads that are in, but thread 0

	runs    atomic.Uint32 // runs begun; one more when the pool is stopped
	stopped atomic.Bool
	parks   []*park // of the threads but thread 0
	caller  park    // of thread 0
}

// start starts the threads unless they run.
func (p *pool) start() error {
	p.life.Lock()
	defer p.life.Unlock()
	if p.closed {
		return errClosed
	}
	if p.started {
		return nil
	}
	p.started = true
	p.shares = make([]share, p.threads)
	p.caller.init()
	for thread := 1; thread < p.threads; thread++ {
		k := new(park)
		k.init()
		p.parks = append(p.parks, k)
		p.ended.Go(func() { p.help(thread, k) })
	}
	return nil
}

// stop ends the threads and waits for them.
func (p *pool) stop() {
	p.life.Lock()
	defer p.life.Unlock()
	p.closed = true
	p.stopped.Store(true)
	p.runs.Add(1)
	for _, k := range p.parks {
		k.wake()
	}
	p.ended.Wait()
}

// run runs all units of t and returns when they are done.
func (p *pool) run(units int, t task) {
	if units == 1 || p.threads == 1 {
		for unit := range units {
			t.do(0, unit)
		}
		return
	}
	p.busy.Lock()
	defer p.busy.Unlock()
	p.task, p.units = t, units
	for i := range p.shares {
		p.shares[i].next.Store(int64(i * units / len(p.shares)))
	}
	p.open.Store(true)
	p.runs.Add(1)
	for _, k := range p.parks[:max(0, min(units-1, len(p.parks)))] {
		k.wake()
	}
	p.work(0)
	// Whoever is in has seen it open, and is waited for; whoever comes now sees it
	// closed.
	p.open.Store(false)
	p.caller.until(func() bool { return p.in.Load() == 0 })
	p.task = nil
}

// help takes part in runs until the pool is stopped.
func (p *pool) help(thread int, k *park) {
	seen := uint32(0)
	for {
		k.until(func() bool { return p.runs.Load() != seen })
		if p.stopped.Load() {
			return
		}
		seen = p.runs.Load()
		p.in.Add(1)
		if p.open.Load() {
			p.work(thread)
		}
		if p.in.Add(-1) == 0 {
			p.caller.wake()
		}
	}
}

// share is the units that one thread begins with: [next, the next share's first).
type share struct {
	next atomic.Int64 // first that nobody has taken
	_    [56]byte     // a line of the cache for each
}

// work takes the units of the thread's own share, then those that other threads
// have left. So a thread comes, run after run, to the same images, which its own
// caches hold.
func (p *pool) work(thread int) {
	for i := range p.shares {
		at := (thread + i) % len(p.shares)
		end := int64((at + 1) * p.units / len(p.shares))
		for next := &p.shares[at].next; next.Load() < end; {
			unit := next.Add(1) - 1
			if unit >= end {
				break
			}
			p.task.do(thread, int(unit))
		}
	}
}
