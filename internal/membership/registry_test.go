package membership_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-train/muster/internal/membership"
)

// behaviours are the tests of a registry, each run against every kind of etcd.
var behaviours = map[string]func(*testing.T, cluster){
	"MembersComeInOrderOfArrival":       membersComeInOrderOfArrival,
	"ReleaseRemovesAtOnce":              releaseRemovesAtOnce,
	"AnAbandonedLeaseExpires":           anAbandonedLeaseExpires,
	"ALeaseOutlivesItsTimeToLive":       aLeaseOutlivesItsTimeToLive,
	"ARevokedLeaseIsLost":               aRevokedLeaseIsLost,
	"AWorkerThatComesBackTakesItsPlace": aWorkerThatComesBackTakesItsPlace,
	"AFailedRegistrationLeavesNothing":  aFailedRegistrationLeavesNothing,
	"WatchShowsEachChange":              watchShowsEachChange,
	"WatchSurvivesCompaction":           watchSurvivesCompaction,
	"WatchEndsWithItsContext":           watchEndsWithItsContext,
	"OthersValuesArePassedOver":         othersValuesArePassedOver,
	"JobsAreApart":                      jobsAreApart,
	"ServersAreFound":                   serversAreFound,
	"WaitServerWaitsForItsPart":         waitServerWaitsForItsPart,
	"WaitServerNamesWhatIsMissing":      waitServerNamesWhatIsMissing,
	"AssignmentsFollowEachOther":        assignmentsFollowEachOther,
	"OneOfManySaversWins":               oneOfManySaversWins,
	"AnAssignmentOfAnotherKind":         anAssignmentOfAnotherKind,
	"OneOfManyCandidatesLeads":          oneOfManyCandidatesLeads,
	"WhoWasDeposedDoesNotLeadOn":        whoWasDeposedDoesNotLeadOn,
	"WhoComesFirstLeads":                whoComesFirstLeads,
	"ALostLeaseGivesWay":                aLostLeaseGivesWay,
	"AServerTakesItsOwnKeyOver":         aServerTakesItsOwnKeyOver,
	"TermsGrowBeyondTheLeast":           termsGrowBeyondTheLeast,
	"WatchLeaderShowsEachChange":        watchLeaderShowsEachChange,
	"WatchLeaderSurvivesCompaction":     watchLeaderSurvivesCompaction,
	"LeadershipOfAnotherKind":           leadershipOfAnotherKind,
	"ADeposedServerSavesNothing":        aDeposedServerSavesNothing,
	"AServerDeposedWhileItSaves":        aServerDeposedWhileItSaves,
}

func membersComeInOrderOfArrival(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	want := []membership.Member{
		{ID: "zoe-1:7", Host: "h1", Device: "cpu/2", Pinned: 3},
		{ID: "adam", Pinned: -1},
		{ID: "mia", Host: "h2", Pinned: 0},
	}
	for _, m := range want {
		lease, err := r.Register(ctx, m)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(lease.Abandon)
	}
	got, revision, err := r.Members(ctx)
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(membership.Member{}, "Joined")); diff != "" || err != nil {
		t.Fatalf("Members: %v\n%s", err, diff)
	}
	last := int64(0)
	for _, m := range got {
		if m.Joined <= last || m.Joined > revision {
			t.Errorf("%s joined at %d, after %d, listed at %d", m.ID, m.Joined, last, revision)
		}
		last = m.Joined
	}
}

func releaseRemovesAtOnce(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	lease := worker(t, r, "a")
	if err := lease.Release(ctx); err != nil {
		t.Fatal(err)
	}
	await(t, "the released lease to be lost", lease.Lost())
	if got, _, err := r.Members(ctx); len(got) != 0 || err != nil {
		t.Errorf("after release there are %v, %v", got, err)
	}
	if err := lease.Release(ctx); err != nil {
		t.Errorf("released again: %v", err)
	}
}

func anAbandonedLeaseExpires(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	w := watch(t, registry(t, cli))
	w.expect("")
	lease := worker(t, expiring(t, cli, time.Second), "a")
	w.expect("a")
	lease.Abandon()
	lease.Abandon()
	await(t, "the abandoned lease to be lost", lease.Lost())
	w.expect("")
	if err := lease.Release(ctx); err != nil {
		t.Errorf("release of an expired lease: %v", err)
	}
}

func aLeaseOutlivesItsTimeToLive(t *testing.T, c cluster) {
	cli := c.client(t)
	w := watch(t, registry(t, cli))
	w.expect("")
	kept := worker(t, expiring(t, cli, 2*time.Second), "kept")
	w.expect("kept")
	// Three of a second each expire one after the other in the meantime.
	for _, id := range []string{"first", "second", "third"} {
		worker(t, expiring(t, cli, time.Second), id).Abandon()
		w.expect("kept " + id)
		w.expect("kept")
	}
	select {
	case <-kept.Lost():
		t.Error("a lease that was kept is lost")
	default:
	}
}

func aRevokedLeaseIsLost(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	// Renewing, every third of the time to live, is what finds out.
	lease := worker(t, expiring(t, cli, time.Second), "a")
	resp, err := cli.Get(ctx, "/muster/"+job(t)+"/workers/a")
	if err != nil || len(resp.Kvs) != 1 {
		t.Fatalf("key of the worker: %v, %v", resp, err)
	}
	if _, err := cli.Revoke(ctx, clientv3.LeaseID(resp.Kvs[0].Lease)); err != nil {
		t.Fatal(err)
	}
	await(t, "a revoked lease to be lost", lease.Lost())
}

func aWorkerThatComesBackTakesItsPlace(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	w := watch(t, r)
	w.expect("")
	old := worker(t, r, "a")
	w.expect("a")
	worker(t, r, "b")
	w.expect("a b")
	again, err := r.Register(ctx, membership.Member{ID: "a", Host: "other", Pinned: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(again.Abandon)
	w.expect("a b")
	// The end of the old process's lease takes nothing with it.
	if err := old.Release(ctx); err != nil {
		t.Fatal(err)
	}
	got, _, err := r.Members(ctx)
	if err != nil || ids(got) != "a b" || got[0].Host != "other" || got[0].Pinned != 1 {
		t.Errorf("after the return of a: %+v, %v", got, err)
	}
	if err := again.Release(ctx); err != nil {
		t.Fatal(err)
	}
	w.expect("b")
	worker(t, r, "a")
	w.expect("b a")
}

func aFailedRegistrationLeavesNothing(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	ended, end := context.WithCancel(ctx)
	end()
	if _, err := r.Register(ended, membership.Member{ID: "a", Pinned: -1}); !errors.Is(err, context.Canceled) {
		t.Errorf("Register after its context ended: %v", err)
	}
	if got, _, err := r.Members(ctx); len(got) != 0 || err != nil {
		t.Errorf("then there are %v, %v", got, err)
	}
}

func watchShowsEachChange(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	b := worker(t, r, "b")
	w := watch(t, r)
	w.expect("b")
	a := worker(t, r, "a")
	w.expect("b a")
	if err := b.Release(ctx); err != nil {
		t.Fatal(err)
	}
	w.expect("a")
	worker(t, r, "b")
	w.expect("a b")
	if err := a.Release(ctx); err != nil {
		t.Fatal(err)
	}
	w.expect("b")
}

// late is a client's Watcher before whose first watch something happens.
type late struct {
	clientv3.Watcher
	once  sync.Once
	first func()
	count atomic.Int32
}

func (l *late) Watch(ctx context.Context, key string, o ...clientv3.OpOption) clientv3.WatchChan {
	l.once.Do(l.first)
	l.count.Add(1)
	return l.Watcher.Watch(ctx, key, o...)
}

// behind returns a client that watches through w and does all else through cli.
func behind(ctx context.Context, cli *clientv3.Client, w clientv3.Watcher) *clientv3.Client {
	c := clientv3.NewCtxClient(ctx)
	c.KV, c.Lease, c.Watcher = cli.KV, cli.Lease, w
	return c
}

func watchSurvivesCompaction(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	other := registry(t, cli)
	watcher := &late{Watcher: cli.Watcher, first: func() {
		worker(t, other, "a")
		worker(t, other, "b")
		_, revision, err := other.Members(ctx)
		if err == nil {
			_, err = cli.Compact(ctx, revision)
		}
		// Beside this test others run that compact too, perhaps further.
		if err != nil && !strings.Contains(err.Error(), "compacted") {
			t.Error(err)
		}
	}}
	w := watch(t, registry(t, behind(ctx, cli, watcher)))
	w.expect("")
	w.expect("a b")
	worker(t, other, "c")
	w.expect("a b c")
	if n := watcher.count.Load(); n < 2 {
		t.Errorf("watched %d times: the compaction was not met", n)
	}
}

func watchEndsWithItsContext(t *testing.T, c cluster) {
	r := registry(t, c.client(t))
	w := watch(t, r)
	w.expect("")
	w.stop()
	select {
	case err := <-w.ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Watch ended with %v", err)
		}
	case <-deadline(t).Done():
		t.Error("Watch did not end")
	}
}

func watchSurvivesARestart(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	r := registry(t, cli)
	w := watch(t, r)
	w.expect("")
	worker(t, r, "a")
	w.expect("a")
	if err := r.SaveAssignment(ctx, membership.Assignment{Number: 1, Owner: []string{"a"}}, 0); err != nil {
		t.Fatal(err)
	}
	c.restart(t)
	// b comes by a client that has not seen the restart.
	worker(t, registry(t, c.client(t)), "b")
	w.until("a b")
	if a, err := r.LoadAssignment(ctx); a.Number != 1 || err != nil {
		t.Errorf("assignment after the restart: %+v, %v", a, err)
	}
}

func othersValuesArePassedOver(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	notes := new(diary)
	r := membership.NewRegistry(cli, job(t), time.Second, slog.New(slog.NewTextHandler(notes, nil)))
	worker(t, r, "good")
	for key, value := range map[string]string{
		"workers/nonsense": "{",
		"workers/x":        `{"id":"y","pinned":-1}`,
		"workers/negative": `{"id":"negative","pinned":-2}`,
		"servers/nonsense": "7",
		"servers/s":        `{"id":"s","address":"h:1","part":2,"parts":2}`,
	} {
		if _, err := cli.Put(ctx, "/muster/"+job(t)+"/"+key, value); err != nil {
			t.Fatal(err)
		}
	}
	if got, _, err := r.Members(ctx); ids(got) != "good" || err != nil {
		t.Errorf("Members = %v, %v", got, err)
	}
	if got, err := r.Servers(ctx); len(got) != 0 || err != nil {
		t.Errorf("Servers = %v, %v", got, err)
	}
	for _, key := range []string{"workers/nonsense", "workers/x", "workers/negative", "servers/nonsense", "servers/s"} {
		if !strings.Contains(notes.String(), "/muster/"+job(t)+"/"+key) {
			t.Errorf("nothing was logged of %s:\n%s", key, notes)
		}
	}
}

func jobsAreApart(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	// The one name is the beginning of the other.
	one := membership.NewRegistry(cli, job(t), time.Second, slog.New(slog.DiscardHandler))
	other := membership.NewRegistry(cli, job(t)+".2", time.Second, slog.New(slog.DiscardHandler))
	worker(t, one, "a")
	worker(t, other, "b")
	if err := one.SaveAssignment(ctx, membership.Assignment{Number: 1}, 0); err != nil {
		t.Fatal(err)
	}
	if got, _, err := one.Members(ctx); ids(got) != "a" || err != nil {
		t.Errorf("the one job has %v, %v", got, err)
	}
	if got, _, err := other.Members(ctx); ids(got) != "b" || err != nil {
		t.Errorf("the other job has %v, %v", got, err)
	}
	if a, err := other.LoadAssignment(ctx); a.Number != 0 || err != nil {
		t.Errorf("the other job's assignment is %v, %v", a, err)
	}
}

// serve registers a parameter server.
func serve(t *testing.T, r *membership.Registry, id string, part, parts int) (membership.Server, *membership.Lease) {
	t.Helper()
	s := membership.Server{ID: id, Address: id + ":9000", Part: part, Parts: parts}
	lease, err := r.RegisterServer(deadline(t), s)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Abandon)
	return s, lease
}

func serversAreFound(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	s1, lease := serve(t, r, "a", 1, 2)
	s0, _ := serve(t, r, "b", 0, 2)
	worker(t, r, "w")
	got, err := r.Servers(ctx)
	if diff := cmp.Diff([]membership.Server{s0, s1}, got); diff != "" || err != nil {
		t.Errorf("Servers: %v\n%s", err, diff)
	}
	if err := lease.Release(ctx); err != nil {
		t.Fatal(err)
	}
	got, err = r.Servers(ctx)
	if diff := cmp.Diff([]membership.Server{s0}, got); diff != "" || err != nil {
		t.Errorf("Servers after one left: %v\n%s", err, diff)
	}
}

func waitServerWaitsForItsPart(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	serve(t, r, "z", 2, 3)
	type result struct {
		server membership.Server
		err    error
	}
	results := make(chan result, 1)
	go func() {
		server, err := r.WaitServer(ctx, 0)
		results <- result{server, err}
	}()
	serve(t, r, "a", 1, 3)
	first, _ := serve(t, r, "m", 0, 3)
	if got := <-results; got.err != nil || got.server != first {
		t.Errorf("WaitServer: %+v, %v; want %+v", got.server, got.err, first)
	}
	// Registered later for the same part: one that took over.
	second, _ := serve(t, r, "b", 0, 3)
	if got, err := r.WaitServer(ctx, 0); err != nil || got != second {
		t.Errorf("WaitServer again: %+v, %v; want %+v", got, err, second)
	}
}

func waitServerNamesWhatIsMissing(t *testing.T, c cluster) {
	cli := c.client(t)
	serve(t, registry(t, cli), "a", 1, 3)
	ctx, cancel := context.WithCancel(deadline(t))
	defer cancel()
	// The wait is given up once it has seen what is there.
	r := registry(t, behind(ctx, cli, &late{Watcher: cli.Watcher, first: cancel}))
	got, err := r.WaitServer(ctx, 0)
	want := "wait for the server of part 0: context canceled"
	if got != (membership.Server{}) || err == nil || err.Error() != want || !errors.Is(err, context.Canceled) {
		t.Errorf("WaitServer = %v, %v; want error %q", got, err, want)
	}
}

func assignmentsFollowEachOther(t *testing.T, c cluster) {
	ctx, r := deadline(t), registry(t, c.client(t))
	check := func(want membership.Assignment) {
		t.Helper()
		got, err := r.LoadAssignment(ctx)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("LoadAssignment: %v\n%s", err, diff)
		}
	}
	check(membership.Assignment{})
	first := membership.Assignment{Number: 1, Owner: []string{"a", "", "b"}, Pinned: []bool{true, true, false}}
	second := membership.Assignment{Number: 2, Owner: []string{"a", "c", "b"}, Pinned: []bool{true, true, false}}
	for _, step := range []struct {
		save membership.Assignment
		ok   bool
		then membership.Assignment
	}{
		{membership.Assignment{Number: 0}, false, membership.Assignment{}},
		{membership.Assignment{Number: 2}, false, membership.Assignment{}},
		{first, true, first},
		{first, false, first},
		{membership.Assignment{Number: 3}, false, first},
		{second, true, second},
		{first, false, second},
	} {
		err := r.SaveAssignment(ctx, step.save, 0)
		if step.ok && err != nil || !step.ok && !errors.Is(err, membership.ErrConflict) {
			t.Errorf("SaveAssignment(%d) = %v, want ok=%v", step.save.Number, err, step.ok)
		}
		check(step.then)
	}
}

func oneOfManySaversWins(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	const savers, rounds = 6, 5
	for round := uint64(1); round <= rounds; round++ {
		errs := make([]error, savers)
		var all sync.WaitGroup
		for i := range savers {
			r := registry(t, cli)
			all.Go(func() {
				errs[i] = r.SaveAssignment(ctx, membership.Assignment{Number: round, Owner: []string{fmt.Sprint(i)}}, 0)
			})
		}
		all.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = i
			case !errors.Is(err, membership.ErrConflict):
				t.Errorf("round %d: saver %d got %v, winner so far %d", round, i, err, winner)
			}
		}
		a, err := registry(t, cli).LoadAssignment(ctx)
		if err != nil || a.Number != round || a.Owner[0] != fmt.Sprint(winner) {
			t.Errorf("round %d: %+v is stored, %v; saver %d won", round, a, err, winner)
		}
	}
}

func anAssignmentOfAnotherKind(t *testing.T, c cluster) {
	ctx, cli := deadline(t), c.client(t)
	r := registry(t, cli)
	key := "/muster/" + job(t) + "/assignment"
	if _, err := cli.Put(ctx, key, `{"number":"one"}`); err != nil {
		t.Fatal(err)
	}
	if _, err := r.LoadAssignment(ctx); err == nil || !strings.Contains(err.Error(), key) {
		t.Errorf("LoadAssignment of nonsense: %v", err)
	}
	if err := r.SaveAssignment(ctx, membership.Assignment{Number: 1}, 0); err == nil || errors.Is(err, membership.ErrConflict) {
		t.Errorf("SaveAssignment over nonsense: %v", err)
	}
}
