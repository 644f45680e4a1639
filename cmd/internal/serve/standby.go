package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/paramserver"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// followPause is how long a standby waits before it follows a leader again that it lost.
const followPause = 200 * time.Millisecond

// leadGrace is how long after an outage of etcd a leader that lives may take to renew its
// lease: several times as long as it takes to reach etcd again.
const leadGrace = 10 * time.Second

// yield is how long a standby that was not following when the leader died lets others go
// first: they may have steps that it has not.
const yield = 2 * leaderTTL

// standby is a server that follows the one that leads, to take its place.
type standby struct {
	cfg      paramserver.Config
	registry *membership.Registry
	self     membership.Server
	log      *slog.Logger
	grace    time.Duration // leadGrace
}

// await follows whoever leads until nobody does, and then leads: with the state that it
// has followed, where it has. A nil leadership without an error tells that the job is done.
func (b *standby) await(ctx context.Context) (*leadership, *checkpoint.State, error) {
	replica, err := paramserver.NewStandby(b.cfg.Job, b.self.ID, b.self.Address, b.log)
	if err != nil {
		return nil, nil, settings.Usage(err)
	}
	var state *checkpoint.State // of the newest step that was followed
	waiting := ""
	var lost membership.Leader // followed last, and lost
	var lostAt time.Time
	yielded := false
	for {
		leader, led, err := b.leader(ctx)
		if err != nil {
			return nil, nil, err
		}
		if led {
			waiting, yielded = "", false
			level := slog.LevelInfo
			if leader == lost {
				level = slog.LevelDebug // its lease is about to end, or it comes back
			}
			b.log.Log(ctx, level, "following the server that leads", "server", leader.ID, "address", leader.Address, "term", leader.Term)
			err := b.follow(ctx, replica, leader)
			var refusal *paramserver.RefusedError
			switch {
			case err == nil:
				return nil, nil, nil
			case errors.As(err, &refusal):
				return nil, nil, settings.Usage(err)
			case errors.Is(err, paramserver.ErrJobFailed):
				return nil, nil, err
			case ctx.Err() != nil:
				return nil, nil, ctx.Err()
			}
			followed := replica.State()
			if followed != nil || level == slog.LevelInfo {
				b.log.Warn("the server that leads was lost; waiting for it, or for its lease to end", "server", leader.ID, "err", err)
			}
			lost = leader
			if followed != nil {
				state, lostAt = followed, time.Now()
			}
			if again, led, err := b.leader(ctx); err == nil && led && again.ID == leader.ID {
				b.pause(ctx, followPause) // it lives, and may take this standby back
			}
			continue
		}
		if why := b.unfit(ctx, state); why != "" {
			if why != waiting {
				b.log.Info("nobody leads the job, and this standby can't", "why", why)
				waiting = why
			}
			b.pause(ctx, leaderTTL)
			continue
		}
		if !yielded && time.Since(lostAt) > yield && b.begun(ctx) {
			yielded = true
			b.pause(ctx, yield)
			continue
		}
		l := &leadership{registry: b.registry, self: b.self, log: b.log}
		least, err := termOf(b.cfg.CheckpointDir)
		if err == nil {
			err = l.try(ctx, least)
		}
		var other *membership.LedError
		switch {
		case err == nil:
			return l, state, nil
		case errors.As(err, &other):
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		default:
			b.log.Warn("the leadership can't be taken; trying again", "err", err)
			b.pause(ctx, leadPause)
		}
	}
}

// leader tells who leads, however long etcd takes to answer.
func (b *standby) leader(ctx context.Context) (leader membership.Leader, led bool, err error) {
	err = b.registry.WatchLeader(ctx, func(l membership.Leader, ok bool) bool {
		leader, led = l, ok
		return true
	})
	return leader, led, err
}

// follow follows a leader until it is lost, or leads no more. That its lease ran out
// because etcd was away is no end of it, as long as it is connected and takes it anew
// within b.grace.
func (b *standby) follow(ctx context.Context, replica *paramserver.Standby, leader membership.Leader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		var patience *time.Timer // fires when a leader without a lease has had its time; nil: it has one
		defer func() {
			if patience != nil {
				patience.Stop()
			}
		}()
		_ = b.registry.WatchLeader(ctx, func(l membership.Leader, ok bool) bool {
			if patience != nil {
				patience.Stop()
				patience = nil
			}
			if ok && l.ID == leader.ID {
				return false
			}
			ended := func() { cancel(errors.New("its leadership has ended")) }
			if left := b.registry.Unsettled(b.grace); !ok && left > 0 {
				b.log.Info("the lease of the server that leads ran out while etcd was away; it is followed on, to take it anew", "server", leader.ID)
				patience = time.AfterFunc(left, ended)
				return false
			}
			ended()
			return true
		})
	}()
	defer func() { cancel(nil); <-watching }()
	leading, err := paramserver.DialLeading(ctx, leader.Address)
	if err == nil {
		err = replica.Follow(ctx, leading)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// unfit says why a standby must not lead although nobody does: it would begin the job
// anew, or far behind. Empty: it may.
func (b *standby) unfit(ctx context.Context, state *checkpoint.State) string {
	if state != nil {
		return ""
	}
	if _, err := checkpoint.Find(b.cfg.CheckpointDir, checkpoint.WhichNewest, slog.New(slog.DiscardHandler)); err == nil {
		return ""
	}
	a, err := b.registry.LoadAssignment(ctx)
	switch {
	case err != nil:
		return fmt.Sprintf("etcd doesn't tell whether the job has begun: %v", err)
	case a.Number > 0:
		return fmt.Sprintf("the job has begun, and neither has this standby followed it nor is there a checkpoint in %s", b.cfg.CheckpointDir)
	}
	return ""
}

// begun tells whether anybody has worked on the job; where etcd doesn't tell, they may have.
func (b *standby) begun(ctx context.Context) bool {
	a, err := b.registry.LoadAssignment(ctx)
	return err != nil || a.Number > 0
}

func (b *standby) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// termOf is the highest term noted in a directory of checkpoints; 0: none is, or it isn't there.
func termOf(dir string) (uint64, error) {
	store, err := checkpoint.Open(dir, 1, nil)
	if err != nil {
		return 0, err
	}
	return store.Term()
}
