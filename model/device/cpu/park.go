package cpu

import (
	"runtime"
	"sync/atomic"
)

// looks is how often a thread looks for what it waits for before it is parked:
// for some tens of microseconds (BenchmarkLooks). Now and then it
// lets other goroutines run.
const (
	looks   = 1 << 14
	between = 64
)

// park is where one thread waits.
type park struct {
	asleep atomic.Bool
	signal chan struct{}
}

func (k *park) init() { k.signal = make(chan struct{}, 1) }

// until returns once ready does. Whoever makes it true calls wake afterwards.
// Only the park's own thread calls until.
func (k *park) until(ready func() bool) {
	for {
		for look := range looks {
			if ready() {
				return
			}
			if look%between == between-1 {
				runtime.Gosched()
			}
		}
		k.asleep.Store(true)
		// What was made true before asleep could be seen is seen here. If somebody
		// has taken asleep back, a signal is on its way and must not be left over.
		if ready() && k.asleep.CompareAndSwap(true, false) {
			return
		}
		<-k.signal
	}
}

// wake wakes the thread if it is asleep.
func (k *park) wake() {
	if k.asleep.Load() && k.asleep.CompareAndSwap(true, false) {
		k.signal <- struct{}{}
	}
}
