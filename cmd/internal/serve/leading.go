package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/paramserver"
)

// leaderTTL is how long nobody leads a job whose leader has died.
const leaderTTL = 2 * time.Second

// leadPause is how long a server waits before it tries again to lead, or to say that it does.
const leadPause = 200 * time.Millisecond

// leadership is that of a job, held by this process through an external etcd. A
// goroutine keeps it, and deposes the server when another one leads.
type leadership struct {
	registry *membership.Registry
	self     membership.Server
	log      *slog.Logger

	lease   *membership.Lease // of the goroutine until ended
	term    uint64
	quit    context.CancelFunc
	keeping sync.WaitGroup
}

// takeLead makes this server the leader of the job. One that leads already is waited
// for as long as a dead leader's lease may last, then it is named in the error.
func takeLead(ctx context.Context, registry *membership.Registry, self membership.Server, least uint64, log *slog.Logger) (*leadership, error) {
	l := &leadership{registry: registry, self: self, log: log}
	for until := time.Now().Add(3 * leaderTTL); ; {
		err := l.try(ctx, least)
		var led *membership.LedError
		switch {
		case err == nil:
			return l, nil
		case !errors.As(err, &led) || time.Now().After(until):
			return nil, err
		}
		select {
		case <-time.After(leadPause):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// try tries once to lead.
func (l *leadership) try(ctx context.Context, least uint64) error {
	lease, term, err := l.registry.Lead(ctx, l.self, least)
	return l.took(lease, term, err)
}

// tryOn tries once to lead on, the lease having been lost.
func (l *leadership) tryOn(ctx context.Context) error {
	lease, term, err := l.registry.LeadOn(ctx, l.self, l.term)
	return l.took(lease, term, err)
}

func (l *leadership) took(lease *membership.Lease, term uint64, err error) error {
	if err != nil {
		return err
	}
	if l.lease != nil {
		l.lease.Abandon() // the one before, which was lost
	}
	l.lease, l.term = lease, term
	l.log.Info("this server leads the job", "term", term)
	return nil
}

// keep keeps the leadership for a server until give. Where etcd is away, the server
// leads on: nobody else can take its place meanwhile.
func (l *leadership) keep(server *paramserver.Server) {
	ctx, quit := context.WithCancel(context.Background())
	l.quit = quit
	l.keeping.Go(func() {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
				return
			case <-l.lease.Lost():
			}
			if ctx.Err() == nil {
				l.log.Warn("the lease of the leadership was lost; training goes on, and it is taken anew", "term", l.term)
				l.regain(ctx, server)
			}
		}
	})
	l.keeping.Go(func() {
		_ = l.registry.WatchLeader(ctx, func(leader membership.Leader, ok bool) bool {
			if ok && leader.ID != l.self.ID {
				server.Depose(fmt.Sprintf("%s at %s", leader.ID, leader.Address), leader.Term)
				return true
			}
			return false
		})
	})
}

// regain leads again, or deposes the server where another one does.
func (l *leadership) regain(ctx context.Context, server *paramserver.Server) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, leaderTTL)
		err := l.tryOn(attempt)
		cancel()
		var led *membership.LedError
		switch {
		case err == nil:
			if err := server.Lead(ctx, l.term); err != nil {
				l.log.Error("the new term was not noted", "term", l.term, "err", err)
			}
			return
		case errors.As(err, &led):
			server.Depose(fmt.Sprintf("%s at %s", led.ID, led.Address), led.Term)
			<-ctx.Done()
			return
		case errors.Is(err, membership.ErrDeposed):
			server.Depose("one that has led since and is gone", l.term+1)
			<-ctx.Done()
			return
		}
		select {
		case <-time.After(leadPause):
		case <-ctx.Done():
		}
	}
}

// give gives the leadership back, so that another server may have it at once.
func (l *leadership) give() {
	if l.quit != nil {
		l.quit()
		l.keeping.Wait()
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaderTTL)
	defer cancel()
	if err := l.lease.Release(ctx); err != nil {
		l.log.Debug("the lease of the leadership was not given back, it will run out", "err", err)
	}
}
