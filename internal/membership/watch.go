package membership

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
)

const (
	// listTimeout bounds one attempt to list while following, so that a
	// connection that is silently dead is tried anew.
	listTimeout = 5 * time.Second
	// retryPause is between two attempts to reach etcd.
	retryPause = 200 * time.Millisecond
)

// Watch calls changed with all registered workers in order of arrival: at once,
// and again after each change. While etcd can't be reached nothing is called;
// afterwards, and where etcd has compacted away what happened in between, Watch
// lists anew and calls changed if the workers are others than before. It returns
// when ctx ends, with its error, or when etcd refuses for good (permission,
// client closed). Calls follow each other; the slice is changed's to keep.
func (r *Registry) Watch(ctx context.Context, changed func([]Member)) error {
	if r.bad != nil {
		return r.bad
	}
	return r.follow(ctx, r.workers(), func(entries []entry) bool {
		changed(r.decodeMembers(entries))
		return false
	})
}

// follow calls changed with the entries whose keys start with prefix, sorted by
// name, first and after each change, until it returns true or ctx ends.
func (r *Registry) follow(ctx context.Context, prefix string, changed func([]entry) (done bool)) error {
	f := follower{r: r, prefix: prefix, changed: changed}
	for {
		began := time.Now()
		done, err := f.list(ctx)
		if err == nil && !done {
			began = time.Time{} // it was listed: only what breaks the watch can follow
			done, err = f.watch(ctx)
		}
		switch {
		case done:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case r.cli.Ctx().Err() != nil:
			return fmt.Errorf("follow %s: the etcd client was closed", prefix)
		case refused(err):
			return fmt.Errorf("follow %s: %w", prefix, err)
		}
		switch {
		case errors.Is(err, errCompacted):
			r.log.Debug("etcd compacted what was to be watched; listing anew", "key", prefix)
		case began.IsZero():
			r.outage.interrupt()
			r.log.Debug("a watch of etcd broke; listing anew", "key", prefix, "err", err)
		default:
			r.outage.fail(began, err)
		}
		rest(ctx)
	}
}

// rest lets retryPause pass, or ctx end.
func rest(ctx context.Context) {
	pause := time.NewTimer(retryPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

// errCompacted tells that events to be watched are gone from etcd.
var errCompacted = errors.New("compacted")

// refused tells whether etcd will give the same answer the next time.
func refused(err error) bool {
	switch code(err) {
	case codes.PermissionDenied, codes.Unauthenticated, codes.InvalidArgument:
		return true
	}
	return false
}

// follower is the state of one follow.
type follower struct {
	r       *Registry
	prefix  string
	changed func([]entry) bool

	shown   bool             // changed has been called
	entries map[string]entry // by name, as changed last saw them
	next    int64            // revision of the next event
}

// list takes in all entries as they are now.
func (f *follower) list(ctx context.Context) (done bool, err error) {
	attempt, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	listed, revision, err := f.r.list(attempt, f.prefix)
	if err != nil {
		return false, err
	}
	f.r.outage.answer() // before changed, which may ask how etcd is
	entries := make(map[string]entry, len(listed))
	for _, e := range listed {
		entries[e.name] = e
	}
	same := maps.EqualFunc(entries, f.entries, func(a, b entry) bool {
		return a.created == b.created && a.modified == b.modified
	})
	f.next = revision + 1
	if f.shown && same {
		return false, nil
	}
	f.entries = entries
	return f.show(), nil
}

// watch takes in changes from revision f.next on, until the watch breaks.
func (f *follower) watch(ctx context.Context) (done bool, err error) {
	watching, cancel := context.WithCancel(ctx)
	// The client returns a watch once etcd has confirmed it: where etcd has gone away
	// since the list, when it is back.
	opened, opening := make(chan clientv3.WatchChan, 1), make(chan struct{})
	go func() {
		defer close(opening)
		// A member of etcd cut off from the others ends the watch, instead of
		// letting it stay silent.
		opened <- f.r.cli.Watch(clientv3.WithRequireLeader(watching), f.prefix,
			clientv3.WithPrefix(), clientv3.WithRev(f.next))
	}()
	defer func() { cancel(); <-opening }()
	var events clientv3.WatchChan // nil: not opened yet
	look := time.NewTicker(probePause)
	defer look.Stop()
	for {
		var resp clientv3.WatchResponse
		var ok bool
		select {
		case events = <-opened:
			continue
		case resp, ok = <-events:
		case <-look.C:
			// The client holds on to a watch whose etcd is away, and tells nobody.
			if err := f.r.probe(ctx, f.prefix); err != nil {
				return false, err
			}
			continue
		}
		if !ok {
			return false, fmt.Errorf("watch %s: ended", f.prefix)
		}
		if resp.CompactRevision != 0 {
			return false, errCompacted
		}
		if err := resp.Err(); err != nil {
			return false, fmt.Errorf("watch %s: %w", f.prefix, err)
		}
		f.r.outage.answer()
		for _, event := range resp.Events {
			name := strings.TrimPrefix(string(event.Kv.Key), f.prefix)
			if event.Type == clientv3.EventTypeDelete {
				delete(f.entries, name)
				continue
			}
			f.entries[name] = entry{
				name:     name,
				value:    event.Kv.Value,
				created:  event.Kv.CreateRevision,
				modified: event.Kv.ModRevision,
			}
		}
		if len(resp.Events) > 0 && f.show() {
			return true, nil
		}
	}
}

// show calls changed.
func (f *follower) show() (done bool) {
	f.shown = true
	return f.changed(slices.SortedFunc(maps.Values(f.entries), func(a, b entry) int {
		return cmp.Compare(a.name, b.name)
	}))
}
