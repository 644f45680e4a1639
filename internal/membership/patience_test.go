package membership_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
)

// folder is one whose paths are short enough for unix sockets.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "patience")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// waits waits until whoever writes to notes has said that it waits for etcd.
func waits(t *testing.T, notes *diary) {
	t.Helper()
	for ctx := deadline(t); !strings.Contains(notes.String(), "waiting for etcd"); time.Sleep(time.Millisecond) {
		if ctx.Err() != nil {
			t.Fatal("nobody says that etcd is waited for")
		}
	}
}

func TestEtcdIsWaitedForAndNamedOnce(t *testing.T) {
	dir := folder(t)
	socket := "unix://" + filepath.Join(dir, "e")
	notes := new(diary)
	type result struct {
		client *clientv3.Client
		err    error
	}
	reached := make(chan result, 1)
	go func() {
		client, err := membership.ConnectAfter(deadline(t), []string{socket}, time.Millisecond, 0, slog.New(slog.NewTextHandler(notes, nil)))
		reached <- result{client, err}
	}()
	waits(t, notes)
	server, err := embedded.Start(deadline(t), embedded.Config{Dir: filepath.Join(dir, "etcd"), ListenClient: socket}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	r := <-reached
	if r.err != nil {
		t.Fatal(r.err)
	}
	r.client.Close()
	if n := strings.Count(notes.String(), "waiting for etcd"); n != 1 {
		t.Errorf("said %d times that etcd is waited for", n)
	}
}

func TestWaitingForEtcdEndsWithTheContext(t *testing.T) {
	notes := new(diary)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := membership.ConnectAfter(ctx, []string{"unix://" + filepath.Join(folder(t), "e")}, time.Millisecond, 0, slog.New(slog.NewTextHandler(notes, nil)))
		ended <- err
	}()
	waits(t, notes)
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("connect = %v, want the context's error", err)
	}
}

func TestEtcdIsWaitedForAsLongAsMayBe(t *testing.T) {
	socket := "unix://" + filepath.Join(folder(t), "e")
	for _, patience := range []time.Duration{time.Millisecond, time.Hour} { // within it nobody is told of a wait
		notes := new(diary)
		_, err := membership.ConnectAfter(t.Context(), []string{socket}, patience, 10*time.Millisecond, slog.New(slog.NewTextHandler(notes, nil)))
		if !errors.Is(err, membership.ErrAway) || !strings.Contains(err.Error(), "for 10ms: etcd did not answer") {
			t.Errorf("patience %v: connect = %v, want that etcd could not be reached", patience, err)
		}
		if told := notes.String() != ""; told != (patience == time.Millisecond) {
			t.Errorf("patience %v: said %q", patience, notes)
		}
	}
}

func TestAddressThatIsNoneIsNotWaitedFor(t *testing.T) {
	notes := new(diary)
	if _, err := membership.ConnectPatiently(t.Context(), []string{"ftp://localhost"}, 0, slog.New(slog.NewTextHandler(notes, nil))); err == nil || notes.String() != "" {
		t.Errorf("connect = %v after %q, want an error at once", err, notes)
	}
}
