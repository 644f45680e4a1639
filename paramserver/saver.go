package paramserver

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/muster-train/muster/internal/membership"
)

const (
	saveTimeout = 5 * time.Second // of one attempt to write an assignment to etcd
	saveAgain   = time.Second     // between two
)

// saver writes the newest assignment to etcd, beside the loop: an outage of
// etcd must not stop training. What can't be written is tried again until it is, or
// there is a newer one.
type saver struct {
	registry *membership.Registry
	term     atomic.Uint64 // in which this server leads; 0: there are no terms
	log      *slog.Logger
	newest   chan membership.Assignment // holds at most the newest

	owed bool // said that an assignment was not written
}

func newSaver(r *membership.Registry, log *slog.Logger) *saver {
	return &saver{registry: r, log: log, newest: make(chan membership.Assignment, 1)}
}

// save replaces what is still to be written. Only the loop calls it.
func (v *saver) save(a membership.Assignment) {
	select {
	case <-v.newest:
	default:
	}
	v.newest <- a
}

// run writes what save is given, until ctx ends.
func (v *saver) run(ctx context.Context) {
	var last membership.Assignment
	var again <-chan time.Time // nil: nothing is owed
	for {
		select {
		case <-ctx.Done():
			return
		case last = <-v.newest:
		case <-again:
		}
		again = nil
		err := v.write(ctx, last)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			// Not for good even where the term is over: this server may be taking a new one.
			again = time.After(saveAgain)
			if !v.owed {
				v.owed = true
				v.log.Warn("assignment was not written to etcd; training goes on with it, and it is tried again", "assignment", last.Number, "err", err)
			}
		case v.owed:
			v.owed = false
			v.log.Info("assignment was written to etcd", "assignment", last.Number)
		}
	}
}

// write saves a under the number that follows the stored one: numbers may have
// been passed over here, and another life of the server may have written some.
func (v *saver) write(ctx context.Context, a membership.Assignment) error {
	ctx, cancel := context.WithTimeout(ctx, saveTimeout)
	defer cancel()
	stored, err := v.registry.LoadAssignment(ctx)
	if err != nil {
		return err
	}
	a.Number = stored.Number + 1
	return v.registry.SaveAssignment(ctx, a, v.term.Load())
}
