package membership

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

const (
	// probePause is for how long nothing may be known of etcd before it is asked; where
	// no answer comes within probeTimeout it is away.
	probePause   = time.Second
	probeTimeout = 2 * time.Second
)

// outage knows whether etcd answers, from whatever a process has asked of it last,
// and says so once when it is away and once when it is back. Registries of one client
// share it. It is safe for concurrent use.
type outage struct {
	log *slog.Logger

	mu       sync.Mutex // guards the fields below
	away     bool       // etcd has been said not to answer
	since    time.Time  // when that was
	broken   bool       // something has failed since the last answer
	answered time.Time  // the last answer
	probed   time.Time  // the last probe
	returned time.Time  // the first answer after the last failure; zero: nothing has failed
}

// answer notes that etcd answers.
func (o *outage) answer() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.answered = time.Now()
	if o.broken {
		o.broken, o.returned = false, o.answered
	}
	if o.away {
		o.away = false
		o.log.Info("etcd answers again", "after", o.answered.Sub(o.since).Round(100*time.Millisecond))
	}
}

// fail notes that an attempt that began at a time has failed. What began before
// the last answer tells nothing of now.
func (o *outage) fail(began time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if began.Before(o.answered) {
		return
	}
	o.broken = true
	if !o.away {
		o.away, o.since = true, time.Now()
		o.log.Warn("etcd does not answer: nobody can join or take the lead until it does, all else goes on", "err", err)
	}
}

// interrupt notes that a watch broke, of which nobody need be told if the next
// attempt succeeds.
func (o *outage) interrupt() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.broken = true
}

// heard notes how an attempt that began at a time went. Errors by which etcd says
// something, and attempts that were given up, are no outage.
func (o *outage) heard(ctx context.Context, began time.Time, err error) {
	switch {
	case err == nil:
		o.answer()
	case !errors.Is(ctx.Err(), context.Canceled) && unanswered(err):
		o.fail(began, err)
	}
}

// probe asks etcd whether it answers, unless that was learnt a moment ago. The error is
// that of an etcd that doesn't.
func (r *Registry) probe(ctx context.Context, key string) error {
	if !r.outage.due() {
		return nil
	}
	began := time.Now()
	attempt, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := r.cli.Get(attempt, key, clientv3.WithCountOnly())
	r.outage.heard(ctx, began, err)
	if err != nil && unanswered(err) {
		return fmt.Errorf("etcd is silent: %w", err)
	}
	return nil
}

// due tells whether to probe etcd now; of several callers one is told so.
func (o *outage) due() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if now.Sub(o.answered) < probePause || now.Sub(o.probed) < probePause {
		return false
	}
	o.probed = now
	return true
}

// unanswered tells whether an error is that of an etcd that can't be reached, or that
// has no leader of its own and so answers nothing.
func unanswered(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	c := code(err)
	return c == codes.Unavailable || c == codes.DeadlineExceeded
}

// unsettled is Registry's Unsettled.
func (o *outage) unsettled(grace time.Duration) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.broken:
		return grace
	case o.returned.IsZero():
		return 0
	}
	return max(0, time.Until(o.returned.Add(grace)))
}

// touches tells whether etcd is away, or has been after a time.
func (o *outage) touches(t time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.broken || o.returned.After(t)
}

// Unsettled tells for how long a key that is missing may yet come back: leases run out
// while etcd is away, and their holders need a moment to take them anew once it is
// back. It is what is left of grace since etcd answered again, all of it while etcd is
// away, and 0 where it has been there for longer.
func (r *Registry) Unsettled(grace time.Duration) time.Duration { return r.outage.unsettled(grace) }
