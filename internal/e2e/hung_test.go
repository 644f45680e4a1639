package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// shaky is a device that hangs in one gradient, before it has told of any value, and
// notes what it has computed.
type shaky struct {
	device.Device
	gates   map[params.Step]chan struct{} // what the gradient of a step waits for before it begins
	hangAt  params.Step                   // 0: it never hangs
	hangs   chan struct{}                 // closed once it does
	release chan struct{}                 // closed by the test: it goes on

	mu   sync.Mutex // guards done
	done map[shardStep]int
}

// shardStep is a shard's part of a step.
type shardStep struct {
	shard int
	step  params.Step
}

func newShaky(t *testing.T, hangAt params.Step, gates map[params.Step]chan struct{}) *shaky {
	t.Helper()
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return &shaky{Device: d, gates: gates, hangAt: hangAt, hangs: make(chan struct{}), release: make(chan struct{}), done: map[shardStep]int{}}
}

func (d *shaky) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	p, err := d.Device.Compile(g, o)
	return shakyPlan{p, d}, err
}

type shakyPlan struct {
	device.Plan
	device *shaky
}

func (p shakyPlan) Gradient(b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
	d := p.device
	if gate := d.gates[b.Step]; gate != nil {
		<-gate
	}
	hang := d.hangAt > 0 && b.Step == d.hangAt
	tallies, err := p.Plan.Gradient(b, func(node int, r params.Range) {
		if hang {
			hang = false
			close(d.hangs)
			<-d.release
		}
		ready(node, r)
	})
	if err == nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, s := range b.Shards {
			d.done[shardStep{s.Shard, b.Step}]++
		}
	}
	return tallies, err
}

// until waits for a status of the server.
func until(t *testing.T, server musterv1.MusterServiceClient, what string, is func(*musterv1.StatusResponse) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		s, err := server.Status(ctx, &musterv1.StatusRequest{}, grpc.WaitForReady(true))
		if ctx.Err() != nil {
			t.Errorf("waited in vain for %s: %v", what, err)
			return
		}
		if err == nil && is(s) {
			return
		}
	}
}

// A device hangs, while its worker's connection is in the best of health. The other
// worker takes over, and computes nothing a second time; what comes late is dropped;
// the worker is taken back; and the bits are those of a job in which nothing hung.
func TestSameBitsThoughADeviceHangs(t *testing.T) {
	spec := job()
	spec.Shards, spec.Epochs = 2, 4
	want := inProcess(t, spec, 1, 1).Hash

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dir := t.TempDir()
	etcd, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(dir, "etcd")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	cfg := paramserver.DefaultConfig()
	cfg.Job, cfg.CheckpointDir, cfg.WorkerTimeout = spec, dir, 200*time.Millisecond
	server, err := paramserver.New(cfg, membership.NewRegistry(etcd.Client(), spec.Name, 2*time.Second, cfg.Log))
	if err != nil {
		t.Fatal(err)
	}
	address := filepath.Join(dir, "s")
	l, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	address = "unix://" + address
	var running sync.WaitGroup
	serving, stop := context.WithCancel(ctx)
	running.Go(func() {
		if err := server.Serve(serving, l); err != nil {
			t.Errorf("Serve = %v", err)
		}
	})

	// Both are there when the second step is made; the second waits in step 12 for the
	// first to be back.
	const hangAt, backAt = 7, 12
	both, back := make(chan struct{}), make(chan struct{})
	first := newShaky(t, hangAt, map[params.Step]chan struct{}{1: both})
	second := newShaky(t, 0, map[params.Step]chan struct{}{1: both, backAt: back})
	for i, d := range []*shaky{first, second} {
		c := worker.DefaultConfig()
		c.ID, c.Data, c.Device = fmt.Sprintf("worker-%d", i), images(), d
		client, err := worker.Dial(address, worker.DialOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		w, err := worker.New(c, client)
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Errorf("worker %d: %v", i, err)
			}
		})
	}
	client := api(t, address)
	running.Go(func() {
		until(t, client, "two workers", func(s *musterv1.StatusResponse) bool {
			return len(s.Workers) == 2 && s.Workers[0].Connected && s.Workers[1].Connected
		})
		close(both)
		select {
		case <-first.hangs:
		case <-ctx.Done():
		}
		until(t, client, "steps without the first", func(s *musterv1.StatusResponse) bool { return s.Step >= hangAt+3 })
		close(first.release)
		until(t, client, "the first to be back", func(s *musterv1.StatusResponse) bool {
			return slices.ContainsFunc(s.Workers, func(w *musterv1.WorkerStatus) bool { return w.Worker == "worker-0" && !w.Hung })
		})
		close(back)
	})
	result, err := server.Run(ctx)
	stop()
	running.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if result.Hash != want {
		t.Errorf("parameters sha256:%s, want %s", result.Hash, want)
	}
	for i, d := range []*shaky{first, second} {
		for at, n := range d.done {
			if n != 1 {
				t.Errorf("worker %d computed shard %d of step %d %d times", i, at.shard, at.step, n)
			}
		}
	}
	late, again := false, false
	for at := range first.done {
		late = late || at.step == hangAt && second.done[at] == 1
		again = again || at.step > hangAt
	}
	if !late || !again {
		t.Errorf("what hung was computed by another too: %v; the worker was taken back: %v; want both\n%v\n%v", late, again, first.done, second.done)
	}
}

// A process that is stopped and goes on before anybody notices that its connection is
// silent.
func TestSameBitsThoughAWorkerIsStopped(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSameBitsThoughAWorkerIsStopped starts processes")
	}
	spec := job()
	spec.Epochs = 20
	want := inProcess(t, spec, 1, 1).Hash
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	server := start(t, "paramserver", append(serverFlags(dir), "--epochs", "20", "--listen", address, "--worker-timeout", "500ms", "--shard-timeout", "100ms")...)
	all := workers(t, address, 2, 1, false)
	all = append(all, start(t, "worker", "--server", address, "--data", data, "--threads", "1", "--shard", fmt.Sprintf("0/%d", shards)))
	all[2].say("shards assigned")
	client := api(t, address)
	until(t, client, "the pinned worker's shard", func(s *musterv1.StatusResponse) bool {
		for _, w := range s.Workers {
			if w.Pinned != nil && len(w.Shards) == 1 && w.Images > 0 {
				return true
			}
		}
		return false
	})
	if err := all[2].cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	server.say("worker hangs")
	reach(t, client, reach(t, client, 0).Step+2) // without it
	if err := all[2].cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if got := server.hash(); got != want {
		t.Errorf("parameters sha256:%s, want %s", got, want)
	}
	ended(t, all)
}
