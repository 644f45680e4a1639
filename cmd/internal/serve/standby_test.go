package serve

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
	"github.com/muster-train/muster/paramserver"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// patience bounds every wait; nothing waits that long unless it is broken.
const patience = 60 * time.Second

// lively is a server that leads: it takes every standby in, and tells it nothing.
type lively struct {
	musterv1.UnimplementedStandbyServiceServer
}

func (lively) Follow(s grpc.BidiStreamingServer[musterv1.FollowRequest, musterv1.FollowResponse]) error {
	<-s.Context().Done()
	return nil
}

// following is a standby that follows a lively leader, with an etcd that can be taken away.
type following struct {
	t        *testing.T
	etcd     *embedded.Server
	cfg      embedded.Config
	registry *membership.Registry
	leader   membership.Server
	lease    *membership.Lease
	lines    chan string // of the log
	ended    chan error  // what follow returned
}

func newFollowing(t *testing.T, grace time.Duration) *following {
	t.Helper()
	dir, err := os.MkdirTemp("", "serve") // short enough for sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	// As a real server, it lets a standby ask often whether it lives.
	g := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}))
	musterv1.RegisterStandbyServiceServer(g, lively{})
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = g.Serve(l) // it ends with Stop
	}()
	t.Cleanup(func() { g.Stop(); <-served })

	f := &following{
		t: t, cfg: embedded.Config{Dir: filepath.Join(dir, "etcd"), ListenClient: "unix://" + filepath.Join(dir, "e")},
		leader: membership.Server{ID: "leader", Address: "unix://" + l.Addr().String(), Parts: 1},
		lines:  make(chan string, 1000), ended: make(chan error, 1),
	}
	f.start()
	client, err := membership.Connect(t.Context(), f.etcd.Endpoints(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	log := slog.New(slog.NewTextHandler(f, nil))
	f.registry = membership.NewRegistry(client, "j", time.Minute, log)
	f.lead(f.leader)

	job := &musterv1.JobSpec{Name: "j", Network: "lenet5", Shards: 1}
	replica, err := paramserver.NewStandby(job, "standby", "h:1", log)
	if err != nil {
		t.Fatal(err)
	}
	b := &standby{registry: f.registry, log: log, grace: grace}
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		f.ended <- b.follow(ctx, replica, membership.Leader{Server: f.leader, Term: 1})
	}()
	t.Cleanup(func() { cancel(); <-over })
	return f
}

// Write takes in a line of the log.
func (f *following) Write(line []byte) (int, error) {
	f.lines <- string(bytes.TrimSpace(line))
	return len(line), nil
}

// say waits until a line of the log contains text.
func (f *following) say(text string) {
	f.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case line := <-f.lines:
			if strings.Contains(line, text) {
				return
			}
		case err := <-f.ended:
			f.t.Fatalf("follow ended with %v before it said %q", err, text)
		case <-timeout:
			f.t.Fatalf("nobody said %q", text)
		}
	}
}

// start starts etcd, where it was before if it was.
func (f *following) start() {
	f.t.Helper()
	server, err := embedded.Start(f.t.Context(), f.cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(server.Close)
	f.etcd = server
}

// outage takes etcd away until it has been missed, and brings it back.
func (f *following) outage() {
	f.t.Helper()
	f.etcd.Close()
	f.say("etcd does not answer")
	f.start()
	f.say("etcd answers again")
}

// lead makes a server the leader.
func (f *following) lead(s membership.Server) {
	f.t.Helper()
	lease, _, err := f.registry.Lead(f.t.Context(), s, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(lease.Abandon)
	f.lease = lease
}

// unlead has the leader's lease end.
func (f *following) unlead() {
	f.t.Helper()
	if err := f.lease.Release(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// ends waits until the leader is followed no more, because it leads no more.
func (f *following) ends() {
	f.t.Helper()
	select {
	case err := <-f.ended:
		if err == nil || !strings.Contains(err.Error(), "its leadership has ended") {
			f.t.Errorf("follow = %v, want that the leadership has ended", err)
		}
	case <-time.After(patience):
		f.t.Error("a server that leads no more is followed on")
	}
}

func TestAStandbyTakesALostLeaseForAnEnd(t *testing.T) {
	f := newFollowing(t, time.Hour)
	f.unlead()
	f.ends()
}

// What may come of an outage is forgiven; that another one leads is not.
func TestAStandbyFollowsOnWhereTheLeaseWasLostInAnOutage(t *testing.T) {
	f := newFollowing(t, time.Hour)
	f.outage()
	f.unlead()
	f.say("it is followed on")
	f.lead(f.leader)
	f.unlead()
	f.lead(membership.Server{ID: "other", Address: "h:1", Parts: 1})
	f.ends()
}

func TestAStandbyWaitsForALostLeaderOnlySoLong(t *testing.T) {
	f := newFollowing(t, time.Second)
	f.outage()
	f.unlead()
	f.ends()
}
