package membership

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// told counts what was said of outages.
func told(said *bytes.Buffer) string {
	return fmt.Sprintf("away %d, back %d", strings.Count(said.String(), "etcd does not answer"), strings.Count(said.String(), "etcd answers again"))
}

func newOutage() (*outage, *bytes.Buffer) {
	said := new(bytes.Buffer)
	return &outage{log: slog.New(slog.NewTextHandler(said, nil))}, said
}

func TestAnOutageIsToldOnceEachWay(t *testing.T) {
	o, said := newOutage()
	expect := func(want string) {
		t.Helper()
		if got := told(said); got != want {
			t.Fatalf("said %s, want %s:\n%s", got, want, said)
		}
	}
	o.answer()
	expect("away 0, back 0")
	for range 3 {
		o.fail(time.Now(), errors.New("refused"))
	}
	expect("away 1, back 0")
	late := time.Now()
	o.answer()
	o.answer()
	expect("away 1, back 1")
	o.fail(late, errors.New("what began before etcd answered"))
	expect("away 1, back 1")
	o.fail(time.Now(), errors.New("refused"))
	o.answer()
	expect("away 2, back 2")
	o.interrupt() // a watch broke, and the next attempt succeeded
	o.answer()
	expect("away 2, back 2")
}

func TestKeysAreUnsettledFromTheFirstFailureOn(t *testing.T) {
	const grace = 10 * time.Second
	for name, begin := range map[string]func(*outage){
		"failed attempt": func(o *outage) { o.fail(time.Now(), errors.New("refused")) },
		"broken watch":   func(o *outage) { o.interrupt() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o, _ := newOutage()
				expect := func(when string, want time.Duration) {
					t.Helper()
					if got := o.unsettled(grace); got != want {
						t.Errorf("%s: unsettled for %v, want %v", when, got, want)
					}
				}
				expect("etcd has always answered", 0)
				o.answer()
				expect("etcd answered", 0)
				time.Sleep(time.Second)
				begin(o)
				time.Sleep(time.Hour)
				expect("etcd is away", grace)
				o.answer()
				expect("etcd is back", grace)
				time.Sleep(grace / 2)
				o.answer() // an answer that follows no failure makes nothing longer
				expect("half of it is over", grace/2)
				time.Sleep(grace)
				expect("it is over", 0)
			})
		})
	}
}

func TestEtcdIsProbedByOneWhereNothingWasHeardForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, _ := newOutage()
		o.answer()
		if o.due() {
			t.Error("it is to be probed though it has just answered")
		}
		time.Sleep(probePause)
		if first, second := o.due(), o.due(); !first || second {
			t.Errorf("two are told to probe it: %v, %v; want one", first, second)
		}
		time.Sleep(probePause)
		if !o.due() {
			t.Error("a probe that brought nothing is the last")
		}
	})
}

// What etcd answers is no outage, even where the answer is no; and a caller that has
// given up learnt nothing.
func TestOnlySilenceIsAnOutage(t *testing.T) {
	live := context.Background()
	gone, cancel := context.WithCancel(live)
	cancel()
	for _, tc := range []struct {
		ctx  context.Context
		err  error
		away bool
	}{
		{live, fmt.Errorf("register: %w", context.DeadlineExceeded), true},
		{live, fmt.Errorf("register: %w", rpctypes.ErrNoLeader), true},
		{live, rpctypes.ErrTimeout, true},
		{live, status.Error(codes.Unavailable, "connection refused"), true},
		{live, status.Error(codes.DeadlineExceeded, "late"), true},
		{gone, status.Error(codes.Unavailable, "connection refused"), false},
		{live, rpctypes.ErrPermissionDenied, false},
		{live, rpctypes.ErrLeaseNotFound, false},
		{live, &LedError{}, false},
		{live, nil, false},
	} {
		o, said := newOutage()
		o.heard(tc.ctx, time.Now(), tc.err)
		want := "away 0, back 0"
		if tc.away {
			want = "away 1, back 0"
		}
		if got := told(said); got != want {
			t.Errorf("after %v it said %s, want %s", tc.err, got, want)
		}
	}
}
