package paramserver

import (
	"context"
	"sync"
)

// orders are what another server is told, in order. The loop and the lanes post, which
// never waits; one goroutine delivers.
type orders[M any] struct {
	mu      sync.Mutex // guards the fields below
	waiting []order[M]
	wake    chan struct{} // closed, and made anew, with each change
	fault   error         // why the other side is gone; nil: it isn't
}

// order is a message, or the state at a version, which is released once it is sent.
type order[M any] struct {
	message M
	state   *Version
	last    bool // nothing follows
}

func newOrders[M any]() *orders[M] { return &orders[M]{wake: make(chan struct{})} }

// post adds a message.
func (o *orders[M]) post(m M) { o.add(order[M]{message: m}) }

// add adds an order, unless the other side is gone.
func (o *orders[M]) add(next order[M]) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fault != nil {
		next.release()
		return
	}
	o.waiting = append(o.waiting, next)
	o.wakeUp()
}

// wakeUp has deliver look. Callers hold mu.
func (o *orders[M]) wakeUp() {
	close(o.wake)
	o.wake = make(chan struct{})
}

func (o order[M]) release() {
	if o.state != nil {
		o.state.Release()
	}
}

// fail notes why the other side is gone, the first time.
func (o *orders[M]) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fault != nil {
		return
	}
	o.fault = err
	for _, left := range o.waiting {
		left.release()
	}
	o.waiting = nil
	o.wakeUp()
}

// gone is why the other side is; nil: it isn't.
func (o *orders[M]) gone() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.fault
}

func (o *orders[M]) take() ([]order[M], <-chan struct{}, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	taken := o.waiting
	o.waiting = nil
	return taken, o.wake, o.fault
}

// deliver sends what is posted until the last order, which ends it without an error, or
// until the other side is gone.
func (o *orders[M]) deliver(ctx context.Context, send func(M) error, sendState func(Version) error) error {
	do := func(next order[M]) error {
		if next.state == nil {
			return send(next.message)
		}
		defer next.state.Release()
		return sendState(*next.state)
	}
	for {
		taken, wake, err := o.take()
		if err != nil {
			return err
		}
		for i, next := range taken {
			if err := do(next); err != nil || next.last {
				for _, left := range taken[i+1:] {
					left.release()
				}
				return err
			}
		}
		if len(taken) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
