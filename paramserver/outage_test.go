package paramserver

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
	"github.com/muster-train/muster/model/params"
)

// outside is an etcd that the test takes away and brings back, with a registry over a
// connection to it.
type outside struct {
	t        *testing.T
	cfg      embedded.Config
	server   *embedded.Server
	registry *membership.Registry
	log      *slog.Logger
	lines    chan string // of the log of registry, and of whatever else has log
}

func newOutside(t *testing.T, job string) *outside {
	t.Helper()
	dir, err := os.MkdirTemp("", "muster") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	e := &outside{t: t, cfg: embedded.Config{Dir: filepath.Join(dir, "etcd"), ListenClient: "unix://" + filepath.Join(dir, "e")}, lines: make(chan string, 1000)}
	e.log = slog.New(slog.NewTextHandler(e, nil))
	e.back()
	client, err := membership.Connect(t.Context(), e.server.Endpoints(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	e.registry = membership.NewRegistry(client, job, time.Second, e.log)
	return e
}

// Write takes in a line of the log.
func (e *outside) Write(line []byte) (int, error) {
	e.lines <- string(bytes.TrimSpace(line))
	return len(line), nil
}

// say waits until a line of the log contains text.
func (e *outside) say(text string) {
	e.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line := <-e.lines:
			if strings.Contains(line, text) {
				return
			}
		case <-timeout:
			e.t.Fatalf("nobody said %q", text)
		}
	}
}

// goAway ends etcd, and waits until it has been missed.
func (e *outside) goAway() {
	e.t.Helper()
	e.server.Close()
	e.say("etcd does not answer")
}

func (e *outside) back() {
	e.t.Helper()
	server, err := embedded.Start(e.t.Context(), e.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(server.Close)
	e.server = server
}

// inside is a registry over a connection that knows of no outage.
func (e *outside) inside(job string) *membership.Registry {
	return membership.NewRegistry(e.server.Client(), job, time.Minute, slog.New(slog.DiscardHandler))
}

// until waits until the loop finds that something holds.
func until(t *testing.T, s *Server, what string, holds func() bool) {
	t.Helper()
	for began := time.Now(); ; {
		var is bool
		if err := s.do(t.Context(), func() { is = holds() }); err != nil {
			t.Fatal(err)
		}
		if is {
			return
		}
		if time.Since(began) > patience {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// shared has a make the first step, which it owns all shards of, so that it and b share
// them from the second on.
func shared(t *testing.T, a, b *puppet) {
	t.Helper()
	until(t, a.s, b.id+" is a member", func() bool { return has(a.s.members, b.id) })
	a.obey(next(t, a))
	if len(a.shards) == 1 { // b was there before the first step began
		b.obey(next(t, b))
	}
	until(t, a.s, "both own a shard", func() bool {
		return len(a.s.assignment.Shards(a.id)) == 1 && len(a.s.assignment.Shards(b.id)) == 1
	})
}

// owns tells what a worker owns, by the assignment at this moment.
func owns(t *testing.T, s *Server, id string) (shards []int) {
	t.Helper()
	if err := s.do(t.Context(), func() { shards = slices.Clone(s.assignment.Shards(id)) }); err != nil {
		t.Fatal(err)
	}
	return shards
}

// Both workers' leases run out while etcd is away, and what is then missing of a
// worker that is connected moves nothing as long as it may still register anew.
func TestAnOutageOfEtcdMovesNoShards(t *testing.T) {
	e := newOutside(t, "test")
	cfg := testConfig(t)
	cfg.SessionGrace, cfg.Log = time.Hour, e.log
	s, err := New(cfg, e.registry)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, s)
	lease := registered(t, e.registry, "a")
	a, b := ownPuppet(t, s, "a"), newPuppet(t, s, "b")
	shared(t, a, b)
	before := owns(t, s, "a")
	e.goAway()

	// Training goes on, also for a worker that has to connect again.
	b.stream.Close()
	until(t, s, "b is gone", func() bool { return s.sessions["b"] == nil })
	b = newPuppet(t, s, "b")
	step := next(t, a)
	a.obey(step)
	b.obey(next(t, b))
	until(t, s, "a step is made without etcd", func() bool { at, _ := s.store.At(); return uint64(at) > step.Step })

	lease.Abandon() // so that its key runs out on etcd's return, before it registers anew
	e.back()
	until(t, s, "a's key is missed", func() bool { return !has(s.listed, "a") })
	if got := owns(t, s, "a"); !slices.Equal(got, before) {
		t.Errorf("a owns %v after the outage, %v before it", got, before)
	}
	registered(t, e.registry, "a")
	until(t, s, "a's key is there", func() bool { return has(s.listed, "a") })
	if got := owns(t, s, "a"); !slices.Equal(got, before) {
		t.Errorf("a owns %v after it has registered anew, %v before the outage", got, before)
	}
	go a.toil()
	b.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

// A worker whose key stays away though etcd is back is no member any more.
func TestAWorkerThatDoesNotRegisterAfterAnOutageLosesItsShards(t *testing.T) {
	e := newOutside(t, "test")
	cfg := testConfig(t)
	cfg.SessionGrace, cfg.Log = time.Millisecond, e.log
	s, err := New(cfg, e.registry)
	if err != nil {
		t.Fatal(err)
	}
	r := run(t, s)
	lease := registered(t, e.registry, "a")
	a, b := ownPuppet(t, s, "a"), newPuppet(t, s, "b")
	shared(t, a, b)
	next(t, a) // and it does none of it
	e.goAway()
	if got := owns(t, s, "a"); len(got) != 1 {
		t.Errorf("a owns %v while etcd is away, want what it had", got)
	}
	lease.Abandon()
	e.back()
	b.toil() // to the end, which it reaches only with a's shard as well
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

// A worker that is cut off from etcd alone gives its shards to others while it is no
// member, gets some again when it is one, and what it and they have sent counts once.
func TestAWorkerCutOffFromEtcdAlone(t *testing.T) {
	s := newServer(t, testConfig(t))
	r := run(t, s)
	lease := registered(t, s.registry, "a")
	a, b := ownPuppet(t, s, "a"), newPuppet(t, s, "b")
	shared(t, a, b)
	w := next(t, a)
	mine := a.shards[0]
	for c := range a.layout.Chunks() {
		a.push(w.Step, params.Node{First: mine, End: mine + 1}, c) // without a word of its images: half of what it owes
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, s, "its shard has moved", func() bool { return len(s.assignment.Shards("b")) == 2 })
	registered(t, s.registry, "a")
	until(t, s, "it is a member again", func() bool { return has(s.members, "a") })
	go b.toil()
	a.toil() // beginning with whatever it still has to hear of the step at hand
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if got := a.shards; len(got) != 1 {
		t.Errorf("a owned %v in the end, want one shard again", got)
	}
}

// ownPuppet is a puppet that is registered by itself.
func ownPuppet(t *testing.T, s *Server, id string) *puppet {
	t.Helper()
	req := joinRequest(s, id)
	req.Registered = true
	return puppetOf(t, s, req)
}

// registered registers a worker until the test's end.
func registered(t *testing.T, r *membership.Registry, id string) *membership.Lease {
	t.Helper()
	lease, err := r.Register(t.Context(), membership.Member{ID: id, Pinned: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Abandon)
	return lease
}

// An assignment that could not be written is made up for, unless there is a newer one.
func TestAnAssignmentIsWrittenOnceEtcdIsBack(t *testing.T) {
	for _, tc := range []struct {
		name  string
		saved []string // owners of the one shard, by assignment
	}{
		{"and nothing newer", []string{"a"}},
		{"and one is newer", []string{"a", "b"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newOutside(t, "test")
			v := newSaver(e.registry, e.log)
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); v.run(ctx) }()
			defer func() { cancel(); <-ended }()
			e.server.Close()
			for i, owner := range tc.saved {
				v.save(membership.Assignment{Number: uint64(i + 1), Owner: []string{owner}, Pinned: []bool{false}})
				if i == 0 {
					e.say("assignment was not written to etcd; training goes on with it")
				}
			}
			e.back()
			e.say("assignment was written to etcd")
			want := tc.saved[len(tc.saved)-1]
			got, err := e.inside("test").LoadAssignment(t.Context())
			if err != nil || got.Number == 0 || !slices.Equal(got.Owner, []string{want}) {
				t.Errorf("etcd has %+v, %v; want the shard at %s", got, err, want)
			}
		})
	}
}

// A server that takes its lead anew, in a higher term, may find its assignment refused
// before it knows that term.
func TestAnAssignmentOfATermThatIsOverIsWrittenInTheNext(t *testing.T) {
	e := newOutside(t, "test")
	self := membership.Server{ID: "self", Address: "h:1", Parts: 1}
	leads := func(want uint64) {
		t.Helper()
		lease, term, err := e.registry.Lead(t.Context(), self, 0)
		if err != nil || term != want {
			t.Fatalf("leads in term %d, %v; want %d", term, err, want)
		}
		t.Cleanup(lease.Abandon)
	}
	leads(1)
	v := newSaver(e.registry, e.log)
	v.term.Store(1)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); v.run(ctx) }()
	defer func() { cancel(); <-ended }()
	leads(2)
	v.save(membership.Assignment{Number: 1, Owner: []string{"a"}, Pinned: []bool{false}})
	e.say("assignment was not written to etcd")
	if got, err := e.registry.LoadAssignment(t.Context()); err != nil || got.Number != 0 {
		t.Errorf("etcd has %+v, %v of a term that is over", got, err)
	}
	v.term.Store(2)
	e.say("assignment was written to etcd")
}
