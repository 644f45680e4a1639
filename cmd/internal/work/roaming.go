package work

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/muster-train/muster/internal/membership"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// roaming is a Link to whichever server etcd names at the moment: it looks the
// server up each time the worker introduces itself, and makes sure that the
// worker's own lease is alive. One goroutine uses it.
type roaming struct {
	registry *membership.Registry
	member   membership.Member
	log      *slog.Logger
	dialing  worker.DialOptions

	lease   *membership.Lease
	address string
	client  *worker.Client

	watching sync.WaitGroup // goroutines that wait for a lease's loss, or the end of its stream
}

// Join looks the server up and calls it.
func (r *roaming) Join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	if err := r.hold(ctx); err != nil {
		return nil, err
	}
	if err := r.find(ctx); err != nil {
		return nil, err
	}
	return r.client.Join(ctx, req)
}

// Exchange opens the stream to the server that Join found. It breaks when the
// worker's lease is lost: the shards are gone with it, and only a worker that
// joins again gets some.
func (r *roaming) Exchange(ctx context.Context, hello *musterv1.Hello) (worker.Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	lost := r.lease.Lost()
	r.watching.Go(func() {
		defer cancel()
		select {
		case <-lost:
			r.log.Warn("the lease in etcd was lost")
		case <-ctx.Done():
		}
	})
	stream, err := r.client.Exchange(ctx, hello)
	if err != nil {
		cancel()
	}
	return stream, err
}

// hold registers the worker unless its lease is alive.
func (r *roaming) hold(ctx context.Context) (err error) {
	if r.lease != nil {
		select {
		case <-r.lease.Lost():
		default:
			return nil
		}
	}
	r.lease, err = r.registry.Register(ctx, r.member)
	return err
}

// find dials the server that etcd names, if it is another than before.
func (r *roaming) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	server, err := r.registry.WaitServer(ctx, 0)
	if err != nil {
		return fmt.Errorf("no parameter server in etcd: %w", err)
	}
	address := server.Address
	if address == r.address {
		return nil
	}
	client, err := worker.Dial(address, r.dialing)
	if err != nil {
		return err
	}
	if r.client != nil {
		r.client.Close()
	}
	r.log.Debug("parameter server found", "address", address)
	r.client, r.address = client, address
	return nil
}

// close gives the lease back and ends the connection, once all streams have ended.
func (r *roaming) close(ctx context.Context) {
	r.watching.Wait()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if r.lease != nil {
		if err := r.lease.Release(ctx); err != nil {
			r.log.Debug("lease was not given back, it will run out", "err", err)
		}
	}
	if r.client != nil {
		r.client.Close()
	}
}
