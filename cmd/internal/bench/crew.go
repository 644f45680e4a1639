package bench

import "sync"

// crew is some goroutines that do the same thing at the same time, as often as
// they are told to. Telling them allocates nothing.
type crew struct {
	do    func(thread int)
	wake  []chan struct{}
	busy  sync.WaitGroup // in a run
	ended sync.WaitGroup
}

// newCrew starts threads-1 goroutines. The goroutine that calls run is thread 0.
func newCrew(threads int, do func(thread int)) *crew {
	c := &crew{do: do}
	for thread := 1; thread < threads; thread++ {
		wake := make(chan struct{})
		c.wake = append(c.wake, wake)
		c.ended.Go(func() {
			for range wake {
				c.do(thread)
				c.busy.Done()
			}
		})
	}
	return c
}

// run does it on all threads and returns when all have done it.
func (c *crew) run() {
	c.busy.Add(len(c.wake))
	for _, wake := range c.wake {
		wake <- struct{}{}
	}
	c.do(0)
	c.busy.Wait()
}

// close ends the goroutines and waits for them.
func (c *crew) close() {
	for _, wake := range c.wake {
		close(wake)
	}
	c.ended.Wait()
}
