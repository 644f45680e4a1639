package membership

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// revokeTimeout bounds the attempt to take back a lease whose key could not be
// written; if it fails, the lease expires by itself.
const revokeTimeout = 2 * time.Second

// Lease keeps one key in etcd for as long as its owner lives. A goroutine
// renews it; Release or Abandon must be called to end that. Its methods are
// safe for concurrent use, also after the lease was lost.
type Lease struct {
	cli  *clientv3.Client
	id   clientv3.LeaseID
	key  string
	stop context.CancelFunc // ends the renewing
	lost chan struct{}      // closed by the renewing goroutine as it ends
}

// Register makes a worker known until its lease ends. A worker of the same ID
// is replaced: the key passes to the new lease, and keeps its place in the order
// of arrival if it still existed. m.Joined is not used. ctx bounds the call, not
// the lease.
func (r *Registry) Register(ctx context.Context, m Member) (*Lease, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	return r.hold(ctx, r.workers()+m.ID, m)
}

// RegisterServer makes a parameter server known until its lease ends. A server
// of the same ID is replaced.
func (r *Registry) RegisterServer(ctx context.Context, s Server) (*Lease, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	return r.hold(ctx, r.servers()+s.ID, s)
}

// hold writes value, as JSON, under key with a lease and keeps that alive.
func (r *Registry) hold(ctx context.Context, key string, value any) (*Lease, error) {
	if r.bad != nil {
		return nil, r.bad
	}
	encoded, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("register %s: %w", key, err)
	}
	began := time.Now()
	l, err := r.grant(ctx, key)
	if err != nil {
		r.outage.heard(ctx, began, err)
		return nil, fmt.Errorf("register %s: %w", key, err)
	}
	_, err = r.cli.Put(ctx, key, string(encoded), clientv3.WithLease(l.id))
	r.outage.heard(ctx, began, err)
	if err != nil {
		revoke, cancel := context.WithTimeout(context.WithoutCancel(ctx), revokeTimeout)
		defer cancel()
		return nil, fmt.Errorf("register %s: %w", key, errors.Join(err, l.Release(revoke)))
	}
	return l, nil
}

// grant makes a lease for key, under which nothing is written yet, and keeps it
// alive until Release or Abandon.
func (r *Registry) grant(ctx context.Context, key string) (*Lease, error) {
	seconds := int64((r.ttl + time.Second - 1) / time.Second)
	asked := time.Now()
	grant, err := r.cli.Grant(ctx, seconds)
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l := &Lease{cli: r.cli, id: grant.ID, key: key, stop: stop, lost: make(chan struct{})}
	renewed, err := r.cli.KeepAlive(running, grant.ID)
	if err != nil {
		stop()
		return nil, fmt.Errorf("lease: %w", err) // it runs out by itself
	}
	ttl := time.Duration(grant.TTL) * time.Second
	go l.renew(renewed, ttl, ttl-time.Since(asked))
	return l, nil
}

// renew takes in what the client reports of each renewal. That ends when the
// lease has expired, the client was closed, or stop was called. The client renews
// after a third of the time to live, which it looks for twice a second: a lease
// of 2 s every second or so. But it notes that answers stay away up to a second
// late, when another may lead already; so left, the time that the lease still
// has, is measured here.
func (l *Lease) renew(renewed <-chan *clientv3.LeaseKeepAliveResponse, ttl, left time.Duration) {
	defer close(l.lost)
	defer l.stop()
	expiry := time.NewTimer(left)
	defer expiry.Stop()
	for {
		select {
		case _, ok := <-renewed:
			if !ok {
				return
			}
			expiry.Reset(ttl)
		case <-expiry.C:
			if len(renewed) == 0 {
				return
			}
			// The process stood still; if too long, the next renewal tells.
			expiry.Reset(ttl)
		}
	}
}

// Lost is closed when the lease is held no longer: it expired, its renewing
// ended for good, or Release or Abandon was called.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Release gives the lease back, so that the key is gone at once: the graceful
// way to leave. A lease that has expired already is no error.
func (l *Lease) Release(ctx context.Context) error {
	l.Abandon()
	_, err := l.cli.Revoke(ctx, l.id)
	if err != nil && code(err) != codes.NotFound {
		return fmt.Errorf("release %s: %w", l.key, err)
	}
	return nil
}

// Abandon stops renewing the lease, so that it expires by itself after its time
// to live: for a worker presumed dead, which may still come back.
func (l *Lease) Abandon() {
	l.stop()
	<-l.lost
}

// code returns the gRPC code of an error of the etcd client, Unknown if it has none.
func code(err error) codes.Code {
	var coded interface{ Code() codes.Code }
	if errors.As(err, &coded) {
		return coded.Code()
	}
	return status.Code(err)
}
