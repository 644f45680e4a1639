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
type pool struct {
	threads int

	life    sync.Mutex // guards the fields up to the blank line
	started bool
	closed  bool
	ended   sync.WaitGroup

	busy sync.Mutex // held for a whole run; guards the fields below
	task task
	unit int          // units of task
	next atomic.Int64 // first unit that nobody has taken
	wake []chan struct{}
	left sync.WaitGroup // threads at work, but thread 0
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
	for thread := 1; thread < p.threads; thread++ {
		wake := make(chan struct{})
		p.wake = append(p.wake, wake)
		p.ended.Go(func() {
			for range wake {
				p.work(thread)
				p.left.Done()
			}
		})
	}
	return nil
}

// stop ends the threads and waits for them.
func (p *pool) stop() {
	p.life.Lock()
	defer p.life.Unlock()
	p.closed = true
	for _, wake := range p.wake {
		close(wake)
	}
	p.wake = nil
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
	p.task, p.unit = t, units
	p.next.Store(0)
	helpers := min(units-1, len(p.wake))
	p.left.Add(max(helpers, 0))
	for i := range helpers {
		p.wake[i] <- struct{}{}
	}
	p.work(0)
	p.left.Wait()
	p.task = nil
}

// work takes units until there are none.
func (p *pool) work(thread int) {
	for {
		unit := int(p.next.Add(1)) - 1
		if unit >= p.unit {
			return
		}
		p.task.do(thread, unit)
	}
}
