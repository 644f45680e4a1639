package membership

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestJobNamesAreChecked(t *testing.T) {
	for _, tc := range []struct {
		job string
		ok  bool
	}{
		{"default", true},
		{"a", true},
		{"Alex-Net_2.1", true},
		{strings.Repeat("x", 100), true},
		{strings.Repeat("x", 101), false},
		{"", false},
		{"a/b", false},
		{"a b", false},
		{"naïve", false},
		{"a\n", false},
		{"a:b", false},
	} {
		err := ValidateJob(tc.job)
		if (err == nil) != tc.ok {
			t.Errorf("ValidateJob(%q) = %v, want ok=%v", tc.job, err, tc.ok)
		}
		if err != nil && !strings.Contains(err.Error(), "job name") {
			t.Errorf("ValidateJob(%q) = %v", tc.job, err)
		}
	}
}

func TestABadRegistryRefusesEverything(t *testing.T) {
	cli := clientv3.NewCtxClient(t.Context()) // of no server: nothing may reach it
	for _, tc := range []struct {
		job  string
		ttl  time.Duration
		want string
	}{
		{"a/b", time.Second, `job name "a/b": want`},
		{"job", 999 * time.Millisecond, "time to live of a lease 999ms: want at least 1s"},
	} {
		r := NewRegistry(cli, tc.job, tc.ttl, slog.New(slog.DiscardHandler))
		ctx := t.Context()
		for name, call := range map[string]func() error{
			"Register":       func() error { _, err := r.Register(ctx, Member{ID: "a", Pinned: -1}); return err },
			"RegisterServer": func() error { _, err := r.RegisterServer(ctx, Server{"a", "h:1", 0, 1}); return err },
			"Members":        func() error { _, _, err := r.Members(ctx); return err },
			"Servers":        func() error { _, err := r.Servers(ctx); return err },
			"WaitServer":     func() error { _, err := r.WaitServer(ctx, 1); return err },
			"Watch":          func() error { return r.Watch(ctx, func([]Member) {}) },
			"Lead":           func() error { _, _, err := r.Lead(ctx, Server{"a", "h:1", 0, 1}, 0); return err },
			"Leader":         func() error { _, _, err := r.Leader(ctx); return err },
			"WatchLeader":    func() error { return r.WatchLeader(ctx, func(Leader, bool) bool { return true }) },
			"LoadAssignment": func() error { _, err := r.LoadAssignment(ctx); return err },
			"SaveAssignment": func() error { return r.SaveAssignment(ctx, Assignment{Number: 1}, 0) },
		} {
			if err := call(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s of job %q, %v: %v, want %q", name, tc.job, tc.ttl, err, tc.want)
			}
		}
	}
}

func TestWhoRegistersIsChecked(t *testing.T) {
	r := NewRegistry(clientv3.NewCtxClient(t.Context()), "job", time.Second, slog.New(slog.DiscardHandler))
	for _, tc := range []struct {
		member Member
		want   string
	}{
		{Member{ID: "", Pinned: -1}, `worker id "": want`},
		{Member{ID: "a/b", Pinned: -1}, `worker id "a/b": want`},
		{Member{ID: "a", Pinned: -2}, "worker a: pinned to shard -2: want a shard, or -1 for none"},
	} {
		if _, err := r.Register(t.Context(), tc.member); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Register(%+v) = %v, want %q", tc.member, err, tc.want)
		}
	}
	for _, tc := range []struct {
		server Server
		want   string
	}{
		{Server{"", "h:1", 0, 1}, `server id "": want`},
		{Server{"a", "", 0, 1}, "server a: no address"},
		{Server{"a", "h:1", 1, 1}, "server a: part 1/1: want"},
		{Server{"a", "h:1", -1, 1}, "server a: part -1/1: want"},
		{Server{"a", "h:1", 0, 0}, "server a: part 0/0: want"},
	} {
		if _, err := r.RegisterServer(t.Context(), tc.server); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("RegisterServer(%+v) = %v, want %q", tc.server, err, tc.want)
		}
		if _, _, err := r.Lead(t.Context(), tc.server, 0); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Lead(%+v) = %v, want %q", tc.server, err, tc.want)
		}
	}
	if _, err := r.WaitServer(t.Context(), -1); err == nil || !strings.Contains(err.Error(), "part -1") {
		t.Errorf("WaitServer of part -1: %v", err)
	}
}

func TestAClosedClientEndsWatch(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cli, err := clientv3.New(clientv3.Config{Endpoints: []string{"127.0.0.1:1"}, Logger: ZapLogger(slog.New(slog.DiscardHandler))})
	if err != nil {
		t.Fatal(err)
	}
	cli.Close()
	r := NewRegistry(cli, "job", time.Second, slog.New(slog.DiscardHandler))
	err = r.Watch(ctx, func(m []Member) { t.Errorf("called with %v", m) })
	if err == nil || !strings.Contains(err.Error(), "the etcd client was closed") {
		t.Errorf("Watch over a closed client: %v", err)
	}
}
