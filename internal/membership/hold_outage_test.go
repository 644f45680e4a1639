package membership_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
)

// absent is an etcd of its own that the test takes away, with a registry of it.
type absent struct {
	t      *testing.T
	cfg    embedded.Config
	server *embedded.Server
	r      *membership.Registry
	once   sync.Once
	notes  *diary
	away   chan struct{} // closed once it has been said that etcd does not answer
}

// Write takes in a line of the log.
func (a *absent) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("etcd does not answer")) {
		a.once.Do(func() { close(a.away) })
	}
	return a.notes.Write(line)
}

// newAbsent starts one, whose leases last as short as they can.
func newAbsent(t *testing.T) *absent {
	dir := t.TempDir()
	a := &absent{t: t, cfg: embedded.Config{Dir: filepath.Join(dir, "etcd"), ListenClient: "127.0.0.1:0"}, notes: new(diary), away: make(chan struct{})}
	a.back()
	a.cfg.ListenClient = strings.TrimPrefix(a.server.Endpoints()[0], "http://")
	a.r = membership.NewRegistry(connect(t, a.server.Endpoints()), job(t), time.Second, slog.New(slog.NewTextHandler(a, nil)))
	return a
}

// back starts etcd, where it was before if it was.
func (a *absent) back() {
	a.t.Helper()
	server, err := embedded.Start(deadline(a.t), a.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		a.t.Fatal(err)
	}
	a.server = server
	a.t.Cleanup(server.Close)
}

// registering registers a worker, and sends each lease that it gets to leases.
func (a *absent) registering(id string, leases chan<- *membership.Lease) func(context.Context) (*membership.Lease, error) {
	return func(ctx context.Context) (*membership.Lease, error) {
		lease, err := a.r.Register(ctx, membership.Member{ID: id, Pinned: -1})
		if err == nil {
			leases <- lease
		}
		return lease, err
	}
}

// lease waits for the next.
func (a *absent) lease(leases <-chan *membership.Lease) *membership.Lease {
	a.t.Helper()
	select {
	case l := <-leases:
		return l
	case <-deadline(a.t).Done():
		a.t.Fatal("no lease was taken")
	}
	return nil
}

// Several watches and registrations, over registries of two kinds, outlive an outage
// longer than their leases, which is told once when it begins and once when it ends.
func TestAnOutageLongerThanEveryLeaseNeedsNoHelp(t *testing.T) {
	a := newAbsent(t)
	w := watch(t, a.r)
	w.expect("")
	watch(t, a.r.WithTTL(2*time.Second)).expect("")
	var leases []chan *membership.Lease
	var taken []*membership.Lease
	for i := range 3 {
		all := make(chan *membership.Lease, 8)
		held, err := a.r.Hold(deadline(t), a.registering(fmt.Sprintf("w%d", i), all))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(held.Abandon)
		leases, taken = append(leases, all), append(taken, a.lease(all))
	}
	w.until("w0 w1 w2")
	a.server.Close()
	for _, l := range taken {
		await(t, "a lease to be lost while etcd is away", l.Lost())
	}
	await(t, "a word of the outage", a.away)
	a.back()
	for _, l := range leases {
		a.lease(l)
	}
	// Who watches anew sees them, whatever the old leases have taken with them.
	watch(t, a.r).until("w0 w1 w2")
	for _, said := range []string{"etcd does not answer", "etcd answers again"} {
		if n := strings.Count(a.notes.String(), said); n != 1 {
			t.Errorf("%q was said %d times, want once:\n%s", said, n, a.notes)
		}
	}
	if said := a.notes.String(); strings.Contains(said, "has been taken anew") {
		t.Errorf("leases lost in an outage were told of one by one:\n%s", said)
	}
	if left := a.r.Unsettled(time.Hour); left == 0 {
		t.Error("after an outage what is missing counts as gone for good")
	}
}

func TestHoldSoonRegistersOnceEtcdIsThere(t *testing.T) {
	a := newAbsent(t)
	a.server.Close()
	leases := make(chan *membership.Lease, 8)
	held := a.r.HoldSoon(t.Context(), a.registering("w", leases))
	never := a.r.HoldSoon(t.Context(), a.registering("never", leases))
	if err := never.Release(deadline(t)); err != nil {
		t.Errorf("Release of what was never registered: %v", err)
	}
	a.back()
	a.lease(leases)
	if members, _, err := a.r.Members(deadline(t)); err != nil || ids(members) != "w" {
		t.Errorf("members %v, %v; want w", ids(members), err)
	}
	if err := held.Release(deadline(t)); err != nil {
		t.Fatal(err)
	}
	if members, _, err := a.r.Members(deadline(t)); err != nil || len(members) != 0 {
		t.Errorf("after Release there are %v, %v; want none", ids(members), err)
	}
}

func TestALeaseLostWhileEtcdAnswersIsToldOf(t *testing.T) {
	a := newAbsent(t)
	leases := make(chan *membership.Lease, 8)
	held, err := a.r.Hold(deadline(t), a.registering("w", leases))
	if err != nil {
		t.Fatal(err)
	}
	a.lease(leases).Abandon() // as a process that stood still loses it
	a.lease(leases)
	held.Abandon() // once it has said what there is to say
	if said := a.notes.String(); !strings.Contains(said, "a lease in etcd that was lost has been taken anew") {
		t.Errorf("said\n%s\nwant a word of the lease", said)
	}
}

func TestWithTTLChecksIt(t *testing.T) {
	a := newAbsent(t)
	if _, err := a.r.WithTTL(time.Millisecond).Register(deadline(t), membership.Member{ID: "w", Pinned: -1}); err == nil || !strings.Contains(err.Error(), "time to live of a lease 1ms: want at least 1s") {
		t.Errorf("Register with leases of 1ms: %v", err)
	}
}

// etcd may go away when the workers have been listed and are not watched yet.
func TestAnOutageThatBeginsBeforeTheWatchIsNoticed(t *testing.T) {
	a := newAbsent(t)
	ctx, cancel := context.WithCancel(deadline(t))
	watching, listed := make(chan error, 1), make(chan string, 8)
	go func() {
		watching <- a.r.Watch(ctx, func(members []membership.Member) {
			if len(members) == 0 {
				a.server.Close()
			}
			listed <- fmt.Sprint(len(members))
		})
	}()
	await(t, "a word of the outage", a.away)
	a.back()
	worker(t, a.r, "w")
	for got := <-listed; got != "1"; got = <-listed {
	}
	cancel()
	if err := <-watching; !errors.Is(err, context.Canceled) {
		t.Errorf("Watch = %v", err)
	}
}
