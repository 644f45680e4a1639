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

// findTimeout bounds the search for a server; staleTimeout is how long etcd may take to
// answer before a worker that has had a server goes there again.
const (
	findTimeout  = 10 * time.Second
	staleTimeout = 2 * time.Second
)

// roaming is a Link to whichever server leads at the moment, or where none does to
// the newest of part 0: it looks the server up in etcd each time the worker
// introduces itself, and keeps the worker registered from the first time on. While etcd
// is away it goes on with the server that it has found. One goroutine uses it.
type roaming struct {
	registry *membership.Registry
	member   membership.Member
	log      *slog.Logger
	dialing  worker.DialOptions

	held   *membership.Held  // the worker's registration; nil: none yet
	server membership.Server // that client calls
	client *worker.Client

	watching sync.WaitGroup // goroutines that wait for another leader, or the end of their stream
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

// Exchange opens the stream to the server that Join found. It breaks when another
// server leads: this one may not know that it was deposed, or stand still and never
// end the stream. It does not break with the worker's lease, which is lost with every
// longer outage of etcd: whether a worker without one keeps its shards, the server
// decides, and it hands out new ones over the same stream.
func (r *roaming) Exchange(ctx context.Context, hello *musterv1.Hello) (worker.Stream, error) {
	ctx, cancel := context.WithCancel(ctx)
	server := r.server
	r.watching.Go(func() {
		defer cancel()
		err := r.registry.WatchLeader(ctx, func(l membership.Leader, leads bool) bool {
			if !leads || same(l.Server, server) {
				return false
			}
			r.log.Warn("another server leads", "server", l.ID, "address", l.Address, "term", l.Term)
			return true
		})
		if err != nil && ctx.Err() == nil {
			r.log.Error("the leader is not watched any more: a server that is deposed may be followed on", "err", err)
			<-ctx.Done()
		}
	})
	stream, err := r.client.Exchange(ctx, hello)
	if err != nil {
		cancel()
	}
	return stream, err
}

// same tells whether two are one process at one address.
func same(a, b membership.Server) bool { return a.ID == b.ID && a.Address == b.Address }

// hold registers the worker, for as long as it runs, unless it is already.
func (r *roaming) hold(ctx context.Context) (err error) {
	if r.held == nil {
		r.held, err = r.registry.Hold(ctx, func(ctx context.Context) (*membership.Lease, error) {
			return r.registry.Register(ctx, r.member)
		})
	}
	return err
}

// find dials the server that etcd names, if it is another than before.
func (r *roaming) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, findTimeout)
	defer cancel()
	server, err := r.seek(ctx)
	if err != nil {
		return fmt.Errorf("no parameter server in etcd: %w", err)
	}
	if same(server, r.server) {
		return nil
	}
	client, err := worker.Dial(server.Address, r.dialing)
	if err != nil {
		return err
	}
	if r.client != nil {
		r.client.Close()
	}
	r.log.Debug("parameter server found", "server", server.ID, "address", server.Address)
	r.client, r.server = client, server
	return nil
}

// seek returns the server that leads. Where none does it waits for one that does,
// or for the newest server of part 0: servers that don't compete have no leader. Where
// etcd does not answer it is the server found before, if any: that may still lead, and
// if it doesn't, whoever does is gone to as soon as etcd tells.
func (r *roaming) seek(ctx context.Context) (membership.Server, error) {
	patience := findTimeout
	if r.client != nil {
		patience = staleTimeout
	}
	looking, stop := context.WithTimeout(ctx, patience)
	leader, leads, err := r.registry.Leader(looking)
	stop()
	switch {
	case err != nil && r.client != nil && ctx.Err() == nil:
		r.log.Debug("etcd does not tell who leads; joining the server found before", "server", r.server.ID, "err", err)
		return r.server, nil
	case leads || err != nil:
		return leader.Server, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var elected sync.WaitGroup
	elected.Go(func() {
		// What ends it besides ends WaitServer too, which tells.
		_ = r.registry.WatchLeader(ctx, func(l membership.Leader, ok bool) bool {
			if ok {
				leader, leads = l, true
				cancel()
			}
			return ok
		})
	})
	server, err := r.registry.WaitServer(ctx, 0)
	cancel()
	elected.Wait()
	if leads {
		return leader.Server, nil
	}
	return server, err
}

// close gives the registration back and ends the connection, once all streams have ended.
func (r *roaming) close(ctx context.Context) {
	r.watching.Wait()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if r.held != nil {
		if err := r.held.Release(ctx); err != nil {
			r.log.Debug("lease was not given back, it will run out", "err", err)
		}
	}
	if r.client != nil {
		r.client.Close()
	}
}
