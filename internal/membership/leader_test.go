package membership_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
)

// candidate is a server that would lead.
func candidate(id string) membership.Server {
	return membership.Server{ID: id, Address: id + ":9000", Part: 0, Parts: 1}
}

// lead makes a server the leader, of a term.
func lead(t *testing.T, r *membership.Registry, id string, least, term uint64) *membership.Lease {
	t.Helper()
	lease, got, err := r.Lead(deadline(t), candidate(id), least)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Abandon)
	if got != term {
		t.Fatalf("%s leads in term %d, want %d", id, got, term)
	}
	return lease
}

// leads checks who leads: "id term", or "" for nobody.
func leads(t *testing.T, r *membership.Registry, want string) {
	t.Helper()
	l, ok, err := r.Leader(deadline(t))
	if got := spell(l, ok); err != nil || got != want {
		t.Errorf("leader %q, %v; want %q", got, err, want)
	}
}

func spell(l membership.Leader, ok bool) string {
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s %d", l.ID, l.Term)
}

// led checks that an error names the leader: "id term".
func led(t *testing.T, err error, want string) {
	t.Helper()
	var other *membership.LedError
	if !errors.As(err, &other) || spell(other.Leader, true) != want {
		t.Errorf("Lead = %v, want that %s leads", err, want)
		return
	}
	sentence := fmt.Sprintf("server %s at %s:9000 leads, in term %d", other.ID, other.ID, other.Term)
	if !strings.Contains(err.Error(), sentence) {
		t.Errorf("Lead = %v, want %q in it", err, sentence)
	}
}

func oneOfManyCandidatesLeads(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	const candidates, rounds = 5, 4
	for round := uint64(1); round <= rounds; round++ {
		errs, leases := make([]error, candidates), make([]*membership.Lease, candidates)
		var all sync.WaitGroup
		for i := range candidates {
			r := registry(t, cli)
			all.Go(func() {
				var term uint64
				leases[i], term, errs[i] = r.Lead(ctx, candidate(fmt.Sprint("s", i)), 0)
				if errs[i] == nil && term != round {
					t.Errorf("round %d: term %d", round, term)
				}
			})
		}
		all.Wait()
		var winner *membership.Lease
		name := ""
		for i, lease := range leases {
			if lease != nil && winner != nil {
				t.Fatalf("round %d: two lead: %v", round, errs)
			}
			if lease != nil {
				winner, name = lease, fmt.Sprintf("s%d %d", i, round)
			}
		}
		if winner == nil {
			t.Fatalf("round %d: nobody leads: %v", round, errs)
		}
		leads(t, registry(t, cli), name)
		for _, err := range errs {
			if err != nil {
				led(t, err, name)
			}
		}
		if err := winner.Release(ctx); err != nil {
			t.Fatal(err)
		}
	}
	leads(t, registry(t, cli), "")
}

// overtaken is a client's KV before whose transaction of a number something happens.
type overtaken struct {
	clientv3.KV
	number int
	first  func()
}

func (o *overtaken) Txn(ctx context.Context) clientv3.Txn {
	if o.number--; o.number == 0 {
		o.first()
	}
	return o.KV.Txn(ctx)
}

// slow returns a registry of a client whose transaction of a number, counted from
// 1, comes after something else.
func slow(t *testing.T, cli *clientv3.Client, number int, first func()) *membership.Registry {
	c := clientv3.NewCtxClient(deadline(t))
	c.KV, c.Lease, c.Watcher = &overtaken{cli.KV, number, first}, cli.Lease, cli.Watcher
	return registry(t, c)
}

func whoComesFirstLeads(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	r := registry(t, cli)
	var first *membership.Lease
	_, _, err := slow(t, cli, 2, func() { first = lead(t, r, "a", 0, 1) }).Lead(ctx, candidate("b"), 0)
	led(t, err, "a 1")
	leads(t, r, "a 1")
	if err := first.Release(ctx); err != nil {
		t.Fatal(err)
	}
	// One that has led and gone in between is no obstacle, but its term counts.
	lead(t, slow(t, cli, 2, func() {
		if err := lead(t, r, "a", 0, 2).Release(ctx); err != nil {
			t.Error(err)
		}
	}), "b", 0, 3)
	leads(t, r, "b 3")
}

func aLostLeaseGivesWay(t *testing.T, c cluster) {
	cli := c.client(t)
	r := registry(t, cli)
	w := watchLeader(t, r)
	w.expect("")
	for term, id := range []string{1: "a", 2: "b", 3: "a"} {
		if id == "" {
			continue
		}
		// 2 s is the least by etcd's own defaults.
		lease := lead(t, expiring(t, cli, 2*time.Second), id, 0, uint64(term))
		w.expect(fmt.Sprintf("%s %d", id, term))
		_, _, err := r.Lead(deadline(t), candidate("other"), 0)
		led(t, err, fmt.Sprintf("%s %d", id, term))
		lease.Abandon()
		w.expect("")
	}
}

func aServerTakesItsOwnKeyOver(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	old := lead(t, r, "a", 0, 1)
	again := lead(t, r, "a", 0, 2)
	leads(t, r, "a 2")
	_, _, err := r.Lead(ctx, candidate("b"), 0)
	led(t, err, "a 2")
	// The end of the old lease takes nothing with it.
	if err := old.Release(ctx); err != nil {
		t.Fatal(err)
	}
	leads(t, r, "a 2")
	if err := again.Release(ctx); err != nil {
		t.Fatal(err)
	}
	leads(t, r, "")
}

func termsGrowBeyondTheLeast(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	r := registry(t, cli)
	lead(t, r, "a", 0, 1)
	lead(t, r, "a", 41, 42)
	lead(t, r, "a", 42, 43)
	lead(t, r, "a", 7, 44)
	counter := "/muster/" + job(t) + "/term"
	if _, err := cli.Delete(ctx, counter); err != nil {
		t.Fatal(err)
	}
	last := lead(t, r, "a", 7, 45)
	_, _, err := r.Lead(ctx, candidate("a"), math.MaxUint64)
	if err == nil || !strings.Contains(err.Error(), "no term above 18446744073709551615") {
		t.Errorf("Lead beyond the highest term: %v", err)
	}
	// The data are lost, and what remains is what the caller knows.
	if err := last.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := cli.Delete(ctx, counter); err != nil {
		t.Fatal(err)
	}
	lead(t, r, "b", 45, 46)
	leads(t, r, "b 46")
}

// A server whose lease was lost leads on if nobody has led since; another one may have,
// and be gone again.
func whoWasDeposedDoesNotLeadOn(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	r := registry(t, cli)
	if err := lead(t, r, "a", 0, 1).Release(ctx); err != nil {
		t.Fatal(err)
	}
	on, term, err := r.LeadOn(ctx, candidate("a"), 1)
	if err != nil || term != 2 {
		t.Fatalf("LeadOn = term %d, %v; want 2", term, err)
	}
	if err := on.Release(ctx); err != nil {
		t.Fatal(err)
	}
	// Of a try whose answer was lost it knows nothing, though it has counted.
	again, term, err := r.LeadOn(ctx, candidate("a"), 1)
	if err != nil || term != 3 {
		t.Fatalf("LeadOn after a try of its own = term %d, %v; want 3", term, err)
	}
	if err := again.Release(ctx); err != nil {
		t.Fatal(err)
	}
	other := lead(t, r, "b", 0, 4)
	_, _, err = r.LeadOn(ctx, candidate("a"), 3)
	led(t, err, "b 4")
	if err := other.Release(ctx); err != nil {
		t.Fatal(err)
	}
	if _, _, err = r.LeadOn(ctx, candidate("a"), 3); !errors.Is(err, membership.ErrDeposed) {
		t.Errorf("LeadOn = %v, want that another one has led since", err)
	}
	leads(t, r, "")
	lead(t, r, "a", 3, 5) // as a server that begins anew
}

// watchLeader starts a WatchLeader, which ends with the test.
func watchLeader(t *testing.T, r *membership.Registry) *watched {
	ctx, stop := context.WithCancel(deadline(t))
	w := &watched{t: t, lists: make(chan string), ended: make(chan error, 1), stop: stop}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		w.ended <- r.WatchLeader(ctx, func(l membership.Leader, ok bool) bool {
			select {
			case w.lists <- spell(l, ok):
			case <-ctx.Done():
			}
			return l.ID == "last"
		})
	}()
	t.Cleanup(func() {
		stop()
		<-finished
	})
	return w
}

func watchLeaderShowsEachChange(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	r := registry(t, cli)
	w := watchLeader(t, r)
	w.expect("")
	// What only begins with the leader's key is none.
	if _, err := cli.Put(ctx, "/muster/"+job(t)+"/leaders", "{"); err != nil {
		t.Fatal(err)
	}
	lead(t, r, "a", 0, 1)
	w.expect("a 1")
	lease := lead(t, r, "a", 0, 2)
	w.expect("a 2")
	if err := lease.Release(ctx); err != nil {
		t.Fatal(err)
	}
	w.expect("")
	lead(t, r, "last", 0, 3)
	w.expect("last 3")
	select {
	case err := <-w.ended:
		if err != nil {
			t.Errorf("WatchLeader that was told it is done: %v", err)
		}
	case <-ctx.Done():
		t.Error("WatchLeader did not end when it was done")
	}
	again := watchLeader(t, r)
	again.expect("last 3") // what is there is shown at once
}

func watchLeaderSurvivesCompaction(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	other := registry(t, cli)
	watcher := &late{Watcher: cli.Watcher, first: func() {
		lead(t, other, "a", 0, 1)
		lead(t, other, "a", 0, 2)
		_, revision, err := other.Members(ctx)
		if err == nil {
			_, err = cli.Compact(ctx, revision)
		}
		if err != nil && !strings.Contains(err.Error(), "compacted") {
			t.Error(err)
		}
	}}
	w := watchLeader(t, registry(t, behind(ctx, cli, watcher)))
	w.expect("")
	w.expect("a 2")
	lead(t, other, "a", 0, 3)
	w.expect("a 3") // which it is told by a watch
	if n := watcher.count.Load(); n < 2 {
		t.Errorf("watched %d times: the compaction was not met", n)
	}
}

func leadershipSurvivesARestart(t *testing.T, c cluster) {
	c.restart(t) // the one before ended with its test
	cli := c.client(t)
	r := registry(t, cli)
	lead(t, r, "a", 0, 1)
	w := watchLeader(t, r)
	w.expect("a 1")
	c.restart(t)
	// The one who led comes back by a client that has not seen the restart.
	lead(t, registry(t, c.client(t)), "a", 0, 2)
	w.expect("a 2")
}

func leadershipOfAnotherKind(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	notes := new(diary)
	r := membership.NewRegistry(cli, job(t), time.Minute, slog.New(slog.NewTextHandler(notes, nil)))
	key, counter := "/muster/"+job(t)+"/leader", "/muster/"+job(t)+"/term"
	put := func(key, value string) {
		t.Helper()
		if _, err := cli.Put(ctx, key, value); err != nil {
			t.Fatal(err)
		}
	}
	w := watchLeader(t, r)
	w.expect("")
	lease := lead(t, r, "a", 0, 1)
	w.expect("a 1")
	for i, value := range []string{
		"{", "7",
		`{"id":"a","address":"h:1","part":0,"parts":1}`,
		`{"id":"","address":"h:1","part":0,"parts":1,"term":1}`,
	} {
		put(key, value)
		if i == 0 {
			w.expect("") // and no more for the others, who are no leaders either
		}
		if l, ok, err := r.Leader(ctx); err == nil || ok || !strings.Contains(err.Error(), key) {
			t.Errorf("Leader over %s: %v, %v, %v; want an error that names the key", value, l, ok, err)
		}
		var other *membership.LedError
		if _, _, err := r.Lead(ctx, candidate("b"), 0); err == nil || errors.As(err, &other) || !strings.Contains(err.Error(), key) {
			t.Errorf("Lead over %s: %v; want an error that names the key", value, err)
		}
	}
	if _, err := cli.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	lease.Abandon()
	for _, value := range []string{"", "one", "-1", "1.5"} {
		put(counter, value)
		if _, _, err := r.Lead(ctx, candidate("b"), 0); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%s: %q is no term", counter, value)) {
			t.Errorf("Lead with the counter %q: %v", value, err)
		}
		err := r.SaveAssignment(ctx, membership.Assignment{Number: 1}, 1)
		if err == nil || errors.Is(err, membership.ErrDeposed) || !strings.Contains(err.Error(), counter) {
			t.Errorf("SaveAssignment with the counter %q: %v", value, err)
		}
	}
	put(counter, "8")
	lead(t, r, "last", 0, 9)
	w.expect("last 9")
	if !strings.Contains(notes.String(), "a key in etcd is no leader") || !strings.Contains(notes.String(), key) {
		t.Errorf("nothing was logged of %s:\n%s", key, notes)
	}
}

func aDeposedServerSavesNothing(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	lead(t, r, "a", 0, 1)
	lead(t, r, "a", 4, 5)
	for _, tc := range []struct {
		number, term uint64
		want         error
		stored       uint64
	}{
		{1, 4, membership.ErrDeposed, 0},
		{1, 5, nil, 1},
		{2, 4, membership.ErrDeposed, 1},
		{2, 6, nil, 2}, // of a term that etcd's data have lost
		{3, 0, nil, 3}, // of one without terms
		{9, 5, membership.ErrConflict, 3},
		{9, 1, membership.ErrDeposed, 3},
	} {
		err := r.SaveAssignment(ctx, membership.Assignment{Number: tc.number}, tc.term)
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("SaveAssignment(%d) of term %d = %v, want %v", tc.number, tc.term, err, tc.want)
		}
		if tc.want != nil && !strings.Contains(err.Error(), fmt.Sprint("assignment ", tc.number)) {
			t.Errorf("SaveAssignment(%d): %v", tc.number, err)
		}
		if a, err := r.LoadAssignment(ctx); err != nil || a.Number != tc.stored {
			t.Errorf("stored is %d, %v; want %d", a.Number, err, tc.stored)
		}
	}
}

// Between its looks and its writing another leader may be made, and save.
func aServerDeposedWhileItSaves(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	r := registry(t, cli)
	lead(t, r, "a", 0, 1)
	save := func(number, term uint64) {
		if err := r.SaveAssignment(ctx, membership.Assignment{Number: number, Owner: []string{fmt.Sprint(term)}}, term); err != nil {
			t.Error(err)
		}
	}
	for _, tc := range []struct {
		name         string
		number, term uint64
		meanwhile    func()
		want         error
		stored       string
	}{
		{"another leads", 1, 1, func() { lead(t, r, "a", 0, 2) }, membership.ErrDeposed, ""},
		{"another leads and saves", 1, 2, func() { lead(t, r, "a", 0, 3); save(1, 3) }, membership.ErrDeposed, "3"},
		{"its own term saves", 2, 3, func() { save(2, 3) }, membership.ErrConflict, "3"},
		{"one without terms is not asked for its", 3, 0, func() { lead(t, r, "a", 0, 4) }, nil, "mine"},
	} {
		late := slow(t, cli, 1, tc.meanwhile)
		err := late.SaveAssignment(ctx, membership.Assignment{Number: tc.number, Owner: []string{"mine"}}, tc.term)
		if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.want)
		}
		a, err := r.LoadAssignment(ctx)
		if got := strings.Join(a.Owner, " "); err != nil || got != tc.stored {
			t.Errorf("%s: %q is stored, %v; want %q", tc.name, got, err, tc.stored)
		}
	}
}

// Nothing waits for an etcd that is gone longer than its context allows, and a
// lease there ends.
func TestALostEtcdIsAnError(t *testing.T) {
	for _, outside := range []bool{false, true} {
		t.Run(fmt.Sprint("outside=", outside), func(t *testing.T) {
			server, err := embedded.Start(deadline(t), embedded.Config{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			cli := server.Client()
			if outside {
				cli = connect(t, server.Endpoints())
			}
			r := expiring(t, cli, time.Second)
			lease := lead(t, r, "a", 0, 1)
			server.Close()
			await(t, "a lease in a lost etcd to be lost", lease.Lost())
			for name, call := range map[string]func(context.Context) error{
				"Lead":           func(ctx context.Context) error { _, _, err := r.Lead(ctx, candidate("a"), 0); return err },
				"Leader":         func(ctx context.Context) error { _, _, err := r.Leader(ctx); return err },
				"SaveAssignment": func(ctx context.Context) error { return r.SaveAssignment(ctx, membership.Assignment{Number: 1}, 1) },
				"WatchLeader": func(ctx context.Context) error {
					return r.WatchLeader(ctx, func(membership.Leader, bool) bool { return true })
				},
			} {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					if err := call(ctx); err == nil {
						t.Errorf("%s went well without etcd", name)
					}
				}()
				await(t, name+" to end with its context", ended)
				cancel()
			}
		})
	}
}
