package work

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// folder is one whose paths are short enough for unix sockets.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "work")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// etcd starts one that listens on a socket, until the test's end.
func etcd(t *testing.T, socket string) *embedded.Server {
	t.Helper()
	return etcdIn(t, filepath.Join(folder(t), "etcd"), socket)
}

// etcdIn is etcd with a directory that another one may have had before.
func etcdIn(t *testing.T, dir, socket string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(t.Context(), embedded.Config{Dir: dir, ListenClient: "unix://" + socket}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// fake is a server that takes every worker in and tells it nothing, but its name to
// one that says good-bye.
type fake struct {
	musterv1.UnimplementedMusterServiceServer
	name string
}

func (f fake) Join(context.Context, *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	return &musterv1.JoinResponse{JobHash: f.name}, nil
}

func (f fake) Exchange(s grpc.BidiStreamingServer[musterv1.ExchangeRequest, musterv1.ExchangeResponse]) error {
	for {
		m, err := s.Recv()
		switch {
		case err != nil:
			<-s.Context().Done()
			return nil
		case m.GetLeave() != nil:
			done := &musterv1.ExchangeResponse_Done{Done: &musterv1.Done{Reason: f.name}}
			if err := s.Send(&musterv1.ExchangeResponse{Message: done}); err != nil {
				return err
			}
		}
	}
}

// serve serves f on a socket until the test's end and returns its address.
func serve(t *testing.T, f fake) string {
	t.Helper()
	path := filepath.Join(folder(t), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	musterv1.RegisterMusterServiceServer(g, f)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.Serve(l) // it ends with Stop
	}()
	t.Cleanup(func() { g.Stop(); <-ended })
	return "unix://" + path
}

func TestRoamingWorkerFollowsItsServerAndStaysRegistered(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := etcd(t, filepath.Join(folder(t), "e")).Client()
	log := slog.New(slog.DiscardHandler)
	registry := membership.NewRegistry(client, "test", 12*time.Second, log) // a lost lease is noticed at its next renewal
	r := &roaming{registry: registry, member: membership.Member{ID: "worker-1", Pinned: 2}, log: log}

	register := func(name string) *membership.Lease {
		t.Helper()
		lease, err := registry.RegisterServer(ctx, membership.Server{ID: name, Address: serve(t, fake{name: name}), Part: 0, Parts: 1})
		if err != nil {
			t.Fatal(err)
		}
		return lease
	}
	join := func(want string) {
		t.Helper()
		answer, err := r.Join(ctx, &musterv1.JoinRequest{})
		if err != nil || answer.JobHash != want {
			t.Fatalf("Join = %v, %v; want server %s", answer, err, want)
		}
		members, _, err := registry.Members(ctx)
		if err != nil || len(members) != 1 || members[0].ID != "worker-1" || members[0].Pinned != 2 {
			t.Fatalf("members %v, %v; want the worker", members, err)
		}
	}
	first := register("one")
	join("one")
	lease := leaseOf(t, client)
	join("one")
	if got := leaseOf(t, client); got != lease {
		t.Errorf("a lease that is held was taken anew: %x after %x", got, lease)
	}

	// The stream outlives the lease, which an outage of etcd ends without the server
	// being lost; the worker registers anew by itself.
	streaming, stop := context.WithCancel(ctx)
	stream, err := r.Exchange(streaming, &musterv1.Hello{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Revoke(ctx, lease); err != nil {
		t.Fatal(err)
	}
	back, found := context.WithCancel(ctx)
	defer found()
	_ = registry.Watch(back, func([]membership.Member) {
		if got := leaseOf(t, client); got != 0 && got != lease {
			found()
		}
	})
	if ctx.Err() != nil {
		t.Fatal("a lost lease was not taken anew")
	}
	bye := &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Leave{Leave: &musterv1.Leave{}}}
	var answer wire.Response
	if err := stream.Send(&wire.Request{Message: bye}); err != nil {
		t.Errorf("the stream ended with the lease: %v", err)
	}
	if err := stream.Recv(&answer); err != nil || answer.Message.GetDone().GetReason() != "one" {
		t.Errorf("the stream brought %v, %v after the lease was lost; want the server's answer", answer.Message, err)
	}
	join("one")

	// A server that has moved is found.
	if err := first.Release(ctx); err != nil {
		t.Fatal(err)
	}
	second := register("two")
	join("two")
	if _, err := r.Exchange(streaming, &musterv1.Hello{}); err != nil {
		t.Fatal(err)
	}
	stop()
	r.close(ctx)
	if members, _, err := registry.Members(ctx); err != nil || len(members) != 0 {
		t.Errorf("members after the worker has closed: %v, %v", members, err)
	}
	if err := second.Release(ctx); err != nil {
		t.Fatal(err)
	}
}

// leaseOf returns the lease under which worker-1 is registered, 0: it is not.
func leaseOf(t *testing.T, client *clientv3.Client) clientv3.LeaseID {
	t.Helper()
	got, err := client.Get(t.Context(), "/muster/test/workers/worker-1")
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Kvs) == 0 {
		return 0
	}
	return clientv3.LeaseID(got.Kvs[0].Lease)
}

// A connection that breaks while etcd is away is made anew all the same, and once etcd
// is back the worker goes to whoever leads.
func TestRoamingWorkerNeedsNoEtcdToJoinItsServerAgain(t *testing.T) {
	dir, socket := filepath.Join(folder(t), "etcd"), filepath.Join(folder(t), "e")
	server := etcdIn(t, dir, socket)
	client, err := membership.Connect(t.Context(), server.Endpoints(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	r := roamerOver(t, client)
	first, standby := r.start("first"), r.start("standby")
	lease := r.lead(first)
	r.join(first)
	server.Close()
	stream := r.join(first)

	server = etcdIn(t, dir, socket)
	elsewhere := membership.NewRegistry(server.Client(), "test", time.Minute, slog.New(slog.DiscardHandler))
	if err := lease.Release(r.ctx); err != nil {
		t.Fatal(err)
	}
	other, _, err := elsewhere.Lead(r.ctx, standby, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.Abandon)
	r.broken(stream)
	r.join(standby)
}

// roamer is a roaming worker and the registry of its job, for servers to come and go.
type roamer struct {
	*roaming
	t   *testing.T
	ctx context.Context
	end func() string // ends all streams and the worker, and returns what it has said
}

func newRoamer(t *testing.T) *roamer {
	return roamerOver(t, etcd(t, filepath.Join(folder(t), "e")).Client())
}

// roamerOver is newRoamer over a client of another etcd.
func roamerOver(t *testing.T, client *clientv3.Client) *roamer {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	said := new(bytes.Buffer)
	log := slog.New(slog.NewTextHandler(said, nil))
	registry := membership.NewRegistry(client, "test", time.Minute, log)
	r := &roaming{registry: registry, member: membership.Member{ID: "worker-1", Pinned: -1}, log: log}
	end := sync.OnceValue(func() string {
		cancel()
		r.close(context.Background())
		return said.String()
	})
	t.Cleanup(func() { end() })
	return &roamer{r, t, ctx, end}
}

// start starts a server, registered as one of part 0.
func (r *roamer) start(name string) membership.Server {
	r.t.Helper()
	s := membership.Server{ID: name, Address: serve(r.t, fake{name: name}), Part: 0, Parts: 1}
	lease, err := r.registry.RegisterServer(r.ctx, s)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(lease.Abandon)
	return s
}

// lead makes a server the leader.
func (r *roamer) lead(s membership.Server) *membership.Lease {
	r.t.Helper()
	lease, _, err := r.registry.Lead(r.ctx, s, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(lease.Abandon)
	return lease
}

// join joins a server and opens a stream to it.
func (r *roamer) join(want membership.Server) worker.Stream {
	r.t.Helper()
	answer, err := r.Join(r.ctx, &musterv1.JoinRequest{})
	if err != nil || answer.JobHash != want.ID {
		r.t.Fatalf("Join = %v, %v; want server %s", answer, err, want.ID)
	}
	stream, err := r.Exchange(r.ctx, &musterv1.Hello{})
	if err != nil {
		r.t.Fatal(err)
	}
	return stream
}

// broken waits until a stream is.
func (r *roamer) broken(s worker.Stream) {
	r.t.Helper()
	if err := s.Recv(new(wire.Response)); err == nil || r.ctx.Err() != nil {
		r.t.Fatalf("the stream ended with %v; want that it breaks when another server leads", err)
	}
}

// A server that is deposed but runs on, and keeps its stream open, is left.
func TestRoamingWorkerGoesToWhoeverLeads(t *testing.T) {
	r := newRoamer(t)
	first, standby := r.start("first"), r.start("standby")
	stream := r.join(standby) // nobody leads: the newest
	lease := r.lead(first)
	r.broken(stream)
	stream = r.join(first) // though another is newer

	// One that leads on, or has gone and comes back, is no other.
	lease.Abandon()
	lease = r.lead(first)
	if err := lease.Release(r.ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.lead(first).Release(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.lead(standby)
	r.broken(stream)
	r.join(standby)
	said := r.end()
	for _, term := range []string{"term=1", "term=4"} {
		if strings.Count(said, term) != 1 {
			t.Errorf("said %d times that another leads with %s, want once", strings.Count(said, term), term)
		}
	}
	if n := strings.Count(said, "another server leads"); n != 2 {
		t.Errorf("said %d times that another server leads, want 2:\n%s", n, said)
	}
}

// Servers behind one name have the same address.
func TestRoamingWorkerTellsServersOfOneAddressApart(t *testing.T) {
	r := newRoamer(t)
	first := r.start("first")
	second := first
	second.ID = "second"
	lease := r.lead(first)
	stream := r.join(first)
	client := r.client
	if err := lease.Release(r.ctx); err != nil {
		t.Fatal(err)
	}
	r.lead(second)
	r.broken(stream)
	r.join(first) // which answers there
	if r.client == client {
		t.Error("the connection to the server before was kept")
	}
}

func TestRoamingWorkerWaitsForALeaderThatIsNotRegistered(t *testing.T) {
	r := newRoamer(t)
	found := make(chan error, 1)
	go func() { found <- r.find(r.ctx) }()
	leader := membership.Server{ID: "leader", Address: serve(t, fake{name: "leader"}), Part: 0, Parts: 1}
	r.lead(leader)
	if err := <-found; err != nil || r.server != leader {
		t.Errorf("found %+v, %v; want %+v", r.server, err, leader)
	}
}
