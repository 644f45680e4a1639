package work

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model/device/cpu"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// patience bounds what waits, far beyond what it takes.
const patience = time.Minute

// await receives from c, or ends the test.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	panic("unreachable")
}

// config is a worker's, of one image.
func config(t *testing.T) worker.Config {
	t.Helper()
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	one := &dataset.Images{Pixels: make([]byte, dataset.PixelBytes), Labels: make([]uint8, 1), Side: dataset.Side}
	cfg := worker.DefaultConfig()
	cfg.ID, cfg.Device = "worker-1", d
	cfg.Data = &dataset.Set{Name: "one", Train: one, Test: one, Classes: []string{"a", "b"}}
	return cfg
}

// answers is a Link that gives every Join the same answer.
type answers struct {
	called chan struct{} // gets each call
	err    error
}

func (a answers) Join(ctx context.Context, _ *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	select {
	case a.called <- struct{}{}:
	case <-ctx.Done():
	}
	return nil, a.err
}

func (answers) Exchange(context.Context, *musterv1.Hello) (worker.Stream, error) {
	return nil, errors.New("nobody has joined")
}

func TestStatusOfAWorker(t *testing.T) {
	refused := fmt.Errorf("%w: shard 3/4 does not fit", worker.ErrRefused)
	for _, tc := range []struct {
		name   string
		err    error
		stop   bool
		status int
		want   string
	}{
		{"refused", refused, false, settings.StatusUsage, "shard 3/4"},
		{"stopped", errors.New("not reachable"), true, settings.StatusStopped, "stopped"},
		{"out of reach for long", errors.New("not reachable"), false, settings.StatusFault, "the server could not be reached for 1ns: not reachable"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		link := answers{make(chan struct{}), tc.err}
		ended := make(chan error, 1)
		cfg := config(t)
		if tc.status == settings.StatusFault {
			cfg.MaxWait = time.Nanosecond
		}
		go func() { ended <- Run(ctx, cfg, link) }()
		await(t, link.called, "Join")
		if tc.stop {
			cancel()
		}
		if err := await(t, ended, "Run"); settings.Status(err) != tc.status || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: status %d (%v), want %d", tc.name, settings.Status(err), err, tc.status)
		}
		cancel()
	}
	if err := Run(t.Context(), worker.Config{}, answers{}); settings.Status(err) != settings.StatusUsage {
		t.Errorf("an empty configuration: %v, want wrong use", err)
	}
}

// TestWrongUseIsToldBeforeDataAreRead: data that are not there would be told else.
func TestWrongUseIsToldBeforeDataAreRead(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--shard 8/8", "--shard: "},
		{"--server localhost", `server "localhost"`},
		{"--server http://localhost:9000", `server "http://localhost:9000"`},
		{"--server a:1 --etcd b:2", "exclude each other"},
		{"--job a/b", "--job: "},
		{"--threads -1", "-1 threads"},
		{"--max-wait -1s", "--max-wait -1s: a time such as 10m is allowed, or 0 to wait for ever"},
		{"--log-level loud", "loud"},
		{"3/8", "takes no arguments"},
		{"", "nowhere"}, // at last
	} {
		var out, errs bytes.Buffer
		cmd := Command()
		cmd.SetOut(&out)
		cmd.SetErr(&errs)
		cmd.SetArgs(append(strings.Fields(tc.args), "--data", "nowhere"))
		if status := settings.Main(t.Context(), cmd); status != settings.StatusUsage || !strings.Contains(errs.String(), tc.want) || out.Len() > 0 {
			t.Errorf("worker %s: status %d, printed %q and %q; want %d and %q", tc.args, status, out.String(), errs.String(), settings.StatusUsage, tc.want)
		}
	}
}
