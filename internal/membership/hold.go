package membership

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// registerTimeout bounds one attempt to register; againAfter is the pause before another.
const (
	registerTimeout = 5 * time.Second
	againAfter      = time.Second
)

// Held is a registration that outlives its leases: one that is lost, because
// the process stood still or etcd was away for too long, is taken anew.
type Held struct {
	quit  chan struct{}
	ended sync.WaitGroup

	lease *Lease // of the goroutine until ended
}

// Hold registers by register, which Registry's methods are for, and keeps it
// so by a goroutine that Release or Abandon ends. The first registration must
// succeed within a few seconds.
func Hold(ctx context.Context, log *slog.Logger, register func(context.Context) (*Lease, error)) (*Held, error) {
	try, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	lease, err := register(try)
	if err != nil {
		return nil, err
	}
	h := &Held{quit: make(chan struct{}), lease: lease}
	ctx = context.WithoutCancel(ctx)
	h.ended.Go(func() {
		for {
			select {
			case <-h.quit:
				return
			case <-h.lease.Lost():
				log.Warn("a lease in etcd was lost and is taken anew", "key", h.lease.key)
				if !h.again(ctx, register) {
					return
				}
			}
		}
	})
	return h, nil
}

// again registers until it succeeds; false: Release or Abandon came first.
func (h *Held) again(ctx context.Context, register func(context.Context) (*Lease, error)) bool {
	for {
		try, cancel := context.WithTimeout(ctx, registerTimeout)
		lease, err := register(try)
		cancel()
		if err == nil {
			h.lease = lease
			return true
		}
		select {
		case <-h.quit:
			return false
		case <-time.After(againAfter):
		}
	}
}

// Release gives the registration back, so that it is gone at once.
func (h *Held) Release(ctx context.Context) error {
	h.end()
	return h.lease.Release(ctx)
}

// Abandon lets the registration expire by itself.
func (h *Held) Abandon() {
	h.end()
	h.lease.Abandon()
}

func (h *Held) end() {
	close(h.quit)
	h.ended.Wait()
}
