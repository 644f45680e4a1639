package e2e

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/membership/embedded"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/device/cpu"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// pace holds a job back: a worker of the test's own, pinned to shard 0, sends nothing of
// a step before that is let through. So what happens between two steps takes as long as
// it takes, and the job is never done before its time.
type pace struct {
	mu   sync.Mutex // guards the fields below
	upTo uint64     // steps below are let through
	more chan struct{}
}

// to lets the job come to a step.
func (p *pace) to(step uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upTo = step
	close(p.more)
	p.more = make(chan struct{})
}

// await waits until a step is let through.
func (p *pace) await(ctx context.Context, step uint64) error {
	for {
		p.mu.Lock()
		open, more := step < p.upTo, p.more
		p.mu.Unlock()
		if open {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// paced is a link whose gradients wait for their step.
type paced struct {
	worker.Link
	*pace
}

func (l paced) Exchange(ctx context.Context, hello *musterv1.Hello) (worker.Stream, error) {
	s, err := l.Link.Exchange(ctx, hello)
	return pacedStream{s, ctx, l.pace}, err
}

type pacedStream struct {
	worker.Stream
	ctx context.Context
	*pace
}

func (s pacedStream) Send(m *wire.Request) error {
	if m.Gradient.Payload != nil {
		if err := s.await(s.ctx, m.Gradient.Step); err != nil {
			m.Free()
			return err
		}
	}
	return s.Stream.Send(m)
}

// pacemaker runs the worker that sets the pace of the job at an address, until that is
// done or the test is.
func pacemaker(t *testing.T, address string) *pace {
	t.Helper()
	device, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	client, err := worker.Dial(address, worker.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := worker.DefaultConfig()
	c.ID, c.Data, c.Device, c.Pinned = "pacemaker", images(), device, &dataset.Shard{Index: 0, Count: shards}
	p := &pace{more: make(chan struct{})}
	w, err := worker.New(c, paced{client, p})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := w.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the worker that sets the pace: %v", err)
		}
	})
	t.Cleanup(func() {
		p.to(epochs * batches)
		cancel()
		running.Wait()
		client.Close()
		device.Close()
	})
	return p
}

// times is how often a process has said something.
func times(p *process, text string) int { return strings.Count(p.stderr(), text) }

// TestSameBitsThroughAnOutageOfEtcd takes the external etcd away for longer than every
// lease lasts, under a server, a standby, workers with leases of their own and one that
// knows the server alone, and brings it back.
func TestSameBitsThroughAnOutageOfEtcd(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSameBitsThroughAnOutageOfEtcd starts many processes")
	}
	want := inProcess(t, job(), 1, 1).Hash
	cfg := embedded.Config{Dir: filepath.Join(t.TempDir(), "etcd"), ListenClient: "127.0.0.1:0"}
	run := func() *embedded.Server {
		t.Helper()
		etcd, err := embedded.Start(context.Background(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(etcd.Close)
		return etcd
	}
	etcd := run()
	j := &electedJob{t, etcd.Endpoints()[0]}
	cfg.ListenClient = strings.TrimPrefix(j.etcd, "http://")

	leader := j.server()
	at := address(t, leader)
	standby := j.server("--standby")
	leader.say("standby joined")
	pace := pacemaker(t, at)
	workers := []*process{j.worker("--log-level", "debug"), j.worker("--log-level", "debug")}
	for _, w := range workers {
		w.say("shards assigned")
	}
	client := api(t, at)
	pace.to(5)
	reach(t, client, 5)

	etcd.Close()
	leader.say("the lease of the leadership was lost; training goes on")
	all := append([]*process{leader, standby}, workers...)
	for _, w := range workers {
		w.say("a lease in etcd was lost")
	}
	for _, p := range all {
		p.say("etcd does not answer")
	}
	pace.to(15)
	reach(t, client, 15)

	run()
	for _, p := range all {
		p.say("etcd answers again")
	}
	for _, w := range workers {
		w.say("has been taken anew")
	}
	leader.say(`msg="this server leads the job" term=2`)
	late := j.worker()
	late.say("msg=joined")
	pace.to(25)
	reach(t, client, 25)
	late.say("shards assigned")
	pace.to(epochs * batches)
	if got := leader.hash(); got != want {
		t.Errorf("parameters sha256:%s, want %s", got, want)
	}
	ended(t, append(workers, late, standby))
	for _, p := range all {
		for _, said := range []string{"etcd does not answer", "etcd answers again"} {
			if n := times(p, said); n != 1 {
				t.Errorf("%s said %d times %q, want once", p.name, n, said)
			}
		}
	}
	if times(standby, "this server leads") > 0 {
		t.Error("the standby took the job over although nothing was wrong with the server that led it")
	}
	for _, w := range workers {
		if n := times(w, "msg=joined"); n != 1 {
			t.Errorf("a worker joined %d times: its stream is to outlive etcd", n)
		}
	}
	if !regexp.MustCompile(`msg="shards assigned" shards="?\[\d`).MatchString(late.stderr()) {
		t.Errorf("the worker that came after the outage got no shards:\n%s", late.stderr())
	}
}
