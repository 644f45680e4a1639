package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// pretender is a server of which only the status is there.
type pretender struct {
	musterv1.UnimplementedMusterServiceServer
	answer func(context.Context) (*musterv1.StatusResponse, error)
}

func (p pretender) Status(ctx context.Context, _ *musterv1.StatusRequest) (*musterv1.StatusResponse, error) {
	return p.answer(ctx)
}

// says is a pretender that answers r.
func says(r *musterv1.StatusResponse) pretender {
	return pretender{answer: func(context.Context) (*musterv1.StatusResponse, error) { return r, nil }}
}

// pretended is a server that a test runs.
type pretended struct {
	stop    func()        // kills it; the test's end does too
	end     func()        // lets it say farewell first, as a server does whose job has ended
	watched chan struct{} // gets one when somebody listens for that
}

// pretend serves p at a unix socket.
func pretend(t *testing.T, socket string, p musterv1.MusterServiceServer) pretended {
	t.Helper()
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	watched := make(chan struct{}, 100)
	g, h := grpc.NewServer(grpc.StreamInterceptor(func(srv any, s grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		watched <- struct{}{} // health is the only stream
		return handler(srv, s)
	})), health.NewServer()
	if p != nil {
		musterv1.RegisterMusterServiceServer(g, p)
	}
	healthv1.RegisterHealthServer(g, h)
	h.SetServingStatus(musterv1.MusterService_ServiceDesc.ServiceName, healthv1.HealthCheckResponse_SERVING)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.Serve(l) // it ends with Stop
	}()
	stop := func() { g.Stop(); <-ended }
	t.Cleanup(stop)
	return pretended{stop, func() { h.Shutdown(); g.GracefulStop(); <-ended }, watched}
}

// told is what a program has written, which a test reads while it runs.
type told struct {
	mu   sync.Mutex // guards the fields below
	text string
	more chan struct{} // closed, and made anew, with each Write
}

func newTold() *told { return &told{more: make(chan struct{})} }

func (s *told) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text += string(p)
	close(s.more)
	s.more = make(chan struct{})
	return len(p), nil
}

func (s *told) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text
}

// hear waits until text has been written.
func (s *told) hear(t *testing.T, text string) {
	t.Helper()
	limit := time.After(patience)
	for {
		s.mu.Lock()
		all, more := s.text, s.more
		s.mu.Unlock()
		if strings.Contains(all, text) {
			return
		}
		select {
		case <-more:
		case <-limit:
			t.Fatalf("waited in vain for %q in\n%s", text, all)
		}
	}
}

// program is muster, running in the background.
type program struct {
	stdout, stderr *told
	interrupt      func()
	ended          <-chan int // gets the status
}

func start(t *testing.T, args ...string) *program {
	t.Helper()
	ended := make(chan int, 1)
	ctx, cancel := context.WithCancel(t.Context())
	p := &program{newTold(), newTold(), cancel, ended}
	cmd := root()
	cmd.SetOut(p.stdout)
	cmd.SetErr(p.stderr)
	cmd.SetArgs(args)
	go func() { ended <- settings.Main(ctx, cmd) }()
	return p
}

// end waits for the end, which must be a success.
func (p *program) end(t *testing.T) {
	t.Helper()
	if status := await(t, p.ended, "the end"); status != settings.StatusDone {
		t.Errorf("ended with status %d, want %d\n%s", status, settings.StatusDone, p.stderr)
	}
}

func TestStatusOfARunningServer(t *testing.T) {
	socket := filepath.Join(folder(t), "s")
	pretend(t, socket, says(training()))
	status, stdout, stderr := muster(t.Context(), "status", "--server", "unix://"+socket)
	if status != settings.StatusDone || stdout != trainingText || stderr != "" {
		t.Errorf("status %d, printed\n%s%s\nwant\n%s", status, stdout, stderr, trainingText)
	}
	var s jobStatus
	prints(t, &s, "status", "--server", "unix://"+socket, "--json", "--job", "lrn")
	if s.Step != 585 || len(s.Workers) != 3 {
		t.Errorf("--json printed %+v", s)
	}
	status, stdout, stderr = muster(t.Context(), "status", "--server", "unix://"+socket, "--job", "other")
	if want := fmt.Sprintf("muster: the parameter server at unix://%s trains job \"lrn\", not \"other\"\n", socket); status != settings.StatusUsage || stdout != "" || stderr != want {
		t.Errorf("--job other: status %d, printed %q and %q; want %q", status, stdout, stderr, want)
	}
}

func TestStatusWhereNobodyAnswers(t *testing.T) {
	dir := folder(t)
	deaf, none, broken := filepath.Join(dir, "deaf"), filepath.Join(dir, "none"), filepath.Join(dir, "broken")
	pretend(t, deaf, pretender{answer: func(ctx context.Context) (*musterv1.StatusResponse, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	pretend(t, none, nil)
	pretend(t, broken, pretender{answer: func(context.Context) (*musterv1.StatusResponse, error) {
		return nil, status.Error(codes.Internal, "out of order")
	}})
	for _, tc := range []struct {
		socket, timeout string
		status          int
		want            string
	}{
		{filepath.Join(dir, "nowhere"), "1s", settings.StatusFault, "muster: no parameter server answers at unix://%s (no such file or directory); start one, or name the address of one with --server\n"},
		{deaf, "50ms", settings.StatusFault, "muster: no parameter server answers at unix://%s (no answer within 50ms); start one, or name the address of one with --server\n"},
		{none, "1m", settings.StatusUsage, "muster: what answers at unix://%s is no parameter server of this version (unknown service muster.v1.MusterService)\n"},
		{broken, "1m", settings.StatusFault, "muster: parameter server at unix://%s: rpc error: code = Internal desc = out of order\n"},
	} {
		status, stdout, stderr := muster(t.Context(), "status", "--server", "unix://"+tc.socket, "--timeout", tc.timeout)
		if want := fmt.Sprintf(tc.want, tc.socket); status != tc.status || stdout != "" || stderr != want {
			t.Errorf("%s: status %d, printed %q and %q; want %d and %q", filepath.Base(tc.socket), status, stdout, stderr, tc.status, want)
		}
	}
}

// TestStatusWaitsForAServerThatStarts asks before the server is there.
func TestStatusWaitsForAServerThatStarts(t *testing.T) {
	socket := filepath.Join(folder(t), "s")
	p := start(t, "status", "--server", "unix://"+socket, "--timeout", patience.String(), "--log-level", "debug")
	p.stderr.hear(t, "no parameter server answers; trying again")
	pretend(t, socket, says(training()))
	p.end(t)
	if p.stdout.String() != trainingText {
		t.Errorf("printed\n%s\nwant\n%s", p.stdout, trainingText)
	}
}

func TestWatchEndsWithTheJob(t *testing.T) {
	socket := filepath.Join(folder(t), "s")
	var calls atomic.Uint64
	pretend(t, socket, pretender{answer: func(context.Context) (*musterv1.StatusResponse, error) {
		n := calls.Add(1)
		return changed(func(r *musterv1.StatusResponse) {
			if r.Step = n; n == 3 {
				r.Phase = "done"
			}
		}), nil
	}})
	status, stdout, stderr := muster(t.Context(), "status", "--watch", "--interval", "1ms", "--server", "unix://"+socket)
	blocks := strings.Split(stdout, "\n\njob ") // the workers' table has an empty line before it too
	if status != settings.StatusDone || stderr != "" || len(blocks) != 3 || !strings.Contains(blocks[0], "\nstep         1 of 3,900") || !strings.Contains(blocks[2], "\nphase        done\nstep         3 of 3,900") {
		t.Errorf("status %d, %d blocks\n%s%s", status, len(blocks), stdout, stderr)
	}
	if strings.Contains(stdout, "\x1b") {
		t.Errorf("what is no terminal is written to as one: %q", stdout)
	}
}

// TestWatchOutlivesItsServer has one that is killed, and another in its place.
func TestWatchOutlivesItsServer(t *testing.T) {
	socket := filepath.Join(folder(t), "s")
	first := pretend(t, socket, says(training()))
	p := start(t, "status", "--watch", "--json", "--interval", "1ms", "--server", "unix://"+socket)
	p.stdout.hear(t, `"step":585,`)
	first.stop()
	p.stderr.hear(t, "no parameter server answers; trying again")
	pretend(t, socket, says(changed(func(r *musterv1.StatusResponse) { r.Step = 600 })))
	p.stdout.hear(t, `"step":600,`)
	p.interrupt()
	p.end(t)
	if got := p.stderr.String(); strings.Count(got, "\n") != 2 || strings.Count(got, "no parameter server answers; trying again") != 1 || strings.Count(got, "the parameter server answers") != 1 {
		t.Errorf("said\n%s\nwant once that it does not answer, and once that it does", got)
	}
	for line := range strings.Lines(p.stdout.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("printed %q, want lines of JSON alone", line)
		}
	}
}

// TestWatchHearsTheServerEnd has one that ends between two statuses, an hour apart.
func TestWatchHearsTheServerEnd(t *testing.T) {
	socket := filepath.Join(folder(t), "s")
	server := pretend(t, socket, says(training()))
	p := start(t, "status", "--watch", "--interval", "1h", "--server", "unix://"+socket)
	p.stdout.hear(t, trainingText)
	await(t, server.watched, "somebody who listens for the end")
	server.end()
	p.end(t)
	if got := p.stderr.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `msg="the parameter server has ended" seen="training, step 585 of 3,900 (15 %)"`) {
		t.Errorf("said %q", got)
	}
}

func TestInterruptEndsTheWatchQuietly(t *testing.T) {
	socket := filepath.Join(folder(t), "s")
	pretend(t, socket, says(training()))
	p := start(t, "status", "--watch", "--interval", "1h", "--server", "unix://"+socket)
	p.stdout.hear(t, trainingText)
	p.interrupt()
	p.end(t)
	if p.stdout.String() != trainingText || p.stderr.String() != "" {
		t.Errorf("printed\n%s%s\nwant one status", p.stdout, p.stderr)
	}
}

func TestStatusFindsTheServerInEtcd(t *testing.T) {
	dir := folder(t)
	log := slog.New(slog.DiscardHandler)
	address := "unix://" + filepath.Join(dir, "e")
	etcd, err := embedded.Start(t.Context(), embedded.Config{Dir: filepath.Join(dir, "etcd"), ListenClient: address}, log)
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	registry := membership.NewRegistry(etcd.Client(), "lrn", time.Minute, log)
	register := func(socket string) *membership.Lease {
		t.Helper()
		lease, err := registry.RegisterServer(t.Context(), membership.Server{ID: filepath.Base(socket), Address: "unix://" + socket, Parts: 1})
		if err != nil {
			t.Fatal(err)
		}
		return lease
	}
	here, there := filepath.Join(dir, "1"), filepath.Join(dir, "2")
	first := pretend(t, here, says(training()))
	lease := register(here)

	var s jobStatus
	prints(t, &s, "status", "--etcd", address, "--job", "lrn", "--json")
	if s.Step != 585 {
		t.Errorf("found a server at step %d, want 585", s.Step)
	}
	status, stdout, stderr := muster(t.Context(), "status", "--etcd", address, "--timeout", "2s")
	if want := "muster: no parameter server answers at " + address + " (etcd names none of job \"default\"); start one, or name another job with --job\n"; status != settings.StatusFault || stdout != "" || stderr != want {
		t.Errorf("another job: status %d, printed %q and %q; want %q", status, stdout, stderr, want)
	}

	// The server moves while it is watched.
	p := start(t, "status", "--watch", "--etcd", address, "--job", "lrn", "--json", "--interval", "1ms")
	p.stdout.hear(t, `"step":585,`)
	first.stop()
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	pretend(t, there, says(changed(func(r *musterv1.StatusResponse) { r.Step = 600 })))
	register(there)
	p.stdout.hear(t, `"step":600,`)
	p.interrupt()
	p.end(t)
}

func TestEtcdThatIsNotThereIsNamed(t *testing.T) {
	missing := "unix://" + filepath.Join(folder(t), "e")
	status, stdout, stderr := muster(t.Context(), "status", "--etcd", missing, "--timeout", "10ms")
	if status != settings.StatusFault || stdout != "" || !oneLine(stderr) || !strings.Contains(stderr, "etcd did not answer within") || !strings.Contains(stderr, missing) {
		t.Errorf("status %d, printed %q and %q", status, stdout, stderr)
	}
}
