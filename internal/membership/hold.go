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
	r        *Registry
	register func(context.Context) (*Lease, error)
	quit     context.CancelFunc
	ended    sync.WaitGroup

	lease *Lease // of the goroutine until ended; nil: none yet
}

// Hold registers by register, which r's methods are for, and keeps it so by a
// goroutine that Release or Abandon ends. The first registration must succeed
// within a few seconds.
func (r *Registry) Hold(ctx context.Context, register func(context.Context) (*Lease, error)) (*Held, error) {
	try, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	lease, err := register(try)
	if err != nil {
		return nil, err
	}
	return r.keep(ctx, lease, register), nil
}

// HoldSoon is Hold without a wait: the first registration too is made when etcd lets
// it be, for whoever goes on without it.
func (r *Registry) HoldSoon(ctx context.Context, register func(context.Context) (*Lease, error)) *Held {
	return r.keep(ctx, nil, register)
}

// keep starts the goroutine that keeps a registration, which outlives ctx.
func (r *Registry) keep(ctx context.Context, lease *Lease, register func(context.Context) (*Lease, error)) *Held {
	ctx, quit := context.WithCancel(context.WithoutCancel(ctx))
	h := &Held{r: r, register: register, quit: quit, lease: lease}
	h.ended.Go(func() {
		if h.lease == nil && !h.again(ctx) {
			return
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-h.lease.Lost():
			}
			lost := time.Now()
			r.log.Debug("a lease in etcd was lost, and is taken anew", "key", h.lease.key)
			if !h.again(ctx) {
				return
			}
			level := slog.LevelWarn
			if r.outage.touches(lost.Add(-registerTimeout)) {
				level = slog.LevelDebug // of the outage everybody has been told once
			}
			r.log.Log(ctx, level, "a lease in etcd that was lost has been taken anew", "key", h.lease.key)
		}
	})
	return h
}

// again registers until it succeeds; false: Release or Abandon came first.
func (h *Held) again(ctx context.Context) bool {
	for {
		try, cancel := context.WithTimeout(ctx, registerTimeout)
		lease, err := h.register(try)
		cancel()
		if err == nil {
			h.lease = lease
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(againAfter):
		}
	}
}

// Release gives the registration back, so that it is gone at once.
func (h *Held) Release(ctx context.Context) error {
	h.end()
	if h.lease == nil {
		return nil
	}
	return h.lease.Release(ctx)
}

// Abandon lets the registration expire by itself.
func (h *Held) Abandon() {
	h.end()
	if h.lease != nil {
		h.lease.Abandon()
	}
}

// end stops the keeping. An attempt under way is given up: what it may have written
// runs out by itself.
func (h *Held) end() {
	h.quit()
	h.ended.Wait()
}
