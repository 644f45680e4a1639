package worker

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// away is a Link to a server that is not there; what it does is up to join.
type away struct {
	join func(ctx context.Context) error
}

func (a away) Join(ctx context.Context, _ *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	return nil, a.join(ctx)
}

func (away) Exchange(context.Context, *musterv1.Hello) (Stream, error) {
	return nil, errors.New("nobody has joined")
}

// A worker tries for as long as it may, with pauses that grow, and then ends.
func TestServerThatIsOutOfReachForLongEndsTheWorker(t *testing.T) {
	for name, tc := range map[string]struct {
		join func(ctx context.Context) error
		want string
	}{
		"refuses": {func(context.Context) error { return errors.New("not reachable: connection refused") }, "the server could not be reached for 30s: not reachable: connection refused"},
		// A call that hangs takes no longer than the worker may wait.
		"is silent": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, "the server could not be reached for 30s: no answer within 30s"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t) // whose device has goroutines of its own
			cfg.FirstWait, cfg.LongestWait, cfg.MaxWait = 100*time.Millisecond, 2*time.Second, 30*time.Second
			synctest.Test(t, func(t *testing.T) {
				tries := 0
				w, err := New(cfg, away{func(ctx context.Context) error { tries++; return tc.join(ctx) }})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				err = w.Run(t.Context())
				if !errors.Is(err, ErrUnreachable) || err.Error() != tc.want {
					t.Errorf("Run = %v, want %s", err, tc.want)
				}
				if took := time.Since(began); took != 30*time.Second {
					t.Errorf("ended after %v of simulated time, want 30s", took)
				}
				if name == "refuses" && tries < 10 {
					t.Errorf("%d tries in 30s", tries)
				}
			})
		})
	}
}

func TestServerIsWaitedForForEverUnlessToldOtherwise(t *testing.T) {
	cfg := testConfig(t)
	cfg.FirstWait, cfg.LongestWait = time.Hour, time.Hour
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 1000*time.Hour)
		defer cancel()
		w, err := New(cfg, away{func(context.Context) error { return errors.New("not reachable") }})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Run = %v, want to be stopped after 1000 hours", err)
		}
	})
}

// The time that counts is that since the connection was lost, however long the worker
// has been at it.
func TestPatienceBeginsAnewWithEachConnection(t *testing.T) {
	cfg := testConfig(t)
	cfg.FirstWait, cfg.LongestWait, cfg.MaxWait = time.Second, 2*time.Second, 15*time.Second
	synctest.Test(t, func(t *testing.T) {
		d := newDirector(t)
		r := run(t, cfg, d)
		for range 3 {
			for range 4 { // for 10 seconds at most
				await(t, d.calls, "Join").reply <- answer{err: errors.New("not reachable")}
			}
			l := d.admit()
			l.tell(assigned(0))
			time.Sleep(20 * time.Second)
			l.cut(io.ErrUnexpectedEOF)
		}
		d.admit().tell(done(true, ""))
		if err := r.wait(t); err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

// Once lost, a server that stays away ends the worker as one that was never there.
func TestServerThatIsLostForLongEndsTheWorker(t *testing.T) {
	d := newDirector(t)
	cfg := testConfig(t)
	cfg.MaxWait = time.Nanosecond
	r := run(t, cfg, d)
	l := d.admit()
	l.tell(assigned(0))
	l.cut(errors.New("the line is cut"))
	if err := r.wait(t); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "the line is cut") {
		t.Errorf("Run = %v, want that the server could not be reached, and why", err)
	}
}
