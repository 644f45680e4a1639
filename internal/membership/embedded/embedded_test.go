package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-train/muster/internal/membership"
)

// patience bounds every wait; nothing waits that long unless it is broken.
const patience = 60 * time.Second

var quiet = slog.New(slog.DiscardHandler)

// deadline returns a context that ends with the test, or when patience does.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// run starts a server, which is closed when the test ends.
func run(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Start(deadline(t), c, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func put(t *testing.T, cli *clientv3.Client, key, value string) {
	t.Helper()
	if _, err := cli.Put(deadline(t), key, value); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, cli *clientv3.Client, key string) string {
	t.Helper()
	resp, err := cli.Get(deadline(t), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Kvs) == 0 {
		return ""
	}
	return string(resp.Kvs[0].Value)
}

// gone waits until a job has no workers.
func gone(t *testing.T, r *membership.Registry) {
	t.Helper()
	ctx, done := context.WithCancel(deadline(t))
	defer done()
	err := r.Watch(ctx, func(m []membership.Member) {
		if len(m) == 0 {
			done()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("workers did not expire: %v", err)
	}
}

func TestWhatWasWrittenIsThereAfterARestart(t *testing.T) {
	dir := t.TempDir()
	s := run(t, Config{Dir: dir})
	for i := range 20 {
		put(t, s.Client(), fmt.Sprintf("key%d", i), fmt.Sprint(i))
	}
	r := membership.NewRegistry(s.Client(), "job", time.Second, quiet)
	lease, err := r.Register(deadline(t), membership.Member{ID: "dead", Pinned: -1})
	if err != nil {
		t.Fatal(err)
	}
	// Its process and the server end together.
	lease.Abandon()
	s.Close()
	s.Close()

	s = run(t, Config{Dir: dir})
	for i := range 20 {
		if got := get(t, s.Client(), fmt.Sprintf("key%d", i)); got != fmt.Sprint(i) {
			t.Errorf("key%d = %q after the restart", i, got)
		}
	}
	gone(t, membership.NewRegistry(s.Client(), "job", time.Second, quiet))
}

func TestEndpointsServeClientsOutside(t *testing.T) {
	deep := filepath.Join(t.TempDir(), strings.Repeat("long/", 25))
	for _, tc := range []struct {
		name, scheme string
		config       Config
	}{
		{"a socket inside the directory", "unix://", Config{Dir: t.TempDir()}},
		{"a port where the path is too long for a socket", "http://127.0.0.1:", Config{Dir: deep}},
		{"any free port", "http://127.0.0.1:", Config{Dir: t.TempDir(), ListenClient: "127.0.0.1:0"}},
		{"a socket elsewhere", "unix://", Config{Dir: t.TempDir(), ListenClient: "unix://" + filepath.Join(t.TempDir(), "s")}},
		{"a name of its own", "unix://", Config{Dir: t.TempDir(), Name: "mine"}},
	} {
		s := run(t, tc.config) // all of them at the same time
		endpoints := s.Endpoints()
		if len(endpoints) != 1 || !strings.HasPrefix(endpoints[0], tc.scheme) || strings.HasSuffix(endpoints[0], ":0") {
			t.Errorf("%s: endpoints %q", tc.name, endpoints)
		}
		cli, err := membership.Connect(deadline(t), endpoints, quiet)
		if err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		put(t, s.Client(), "key", tc.name)
		if got := get(t, cli, "key"); got != tc.name {
			t.Errorf("%s: a client outside reads %q", tc.name, got)
		}
		cli.Close()
	}
}

func TestStartRefusesWhatItCannotUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	running := t.TempDir()
	run(t, Config{Dir: running})
	badLog, badStore := t.TempDir(), t.TempDir()
	for dir, file := range map[string]string{badLog: "wal/*.wal", badStore: "snap/db"} {
		run(t, Config{Dir: dir}).Close()
		damage(t, filepath.Join(dir, "member", file))
	}

	for _, tc := range []struct {
		name   string
		config Config
		want   []string
	}{
		{"no directory", Config{}, []string{"no directory"}},
		{"a directory below a file", Config{Dir: file + "/etcd"}, []string{file + "/etcd: ", "not a directory"}},
		{"a directory in use", Config{Dir: running}, []string{running, "in use by another process"}},
		{"a damaged log", Config{Dir: badLog}, []string{"start on the files in " + badLog + ": "}},
		{"a damaged store", Config{Dir: badStore}, []string{"start on the files in " + badStore + ": database ", "invalid database"}},
		{
			"a port in use",
			Config{Dir: t.TempDir(), ListenClient: taken.Addr().String()},
			[]string{taken.Addr().String(), ": already in use"},
		},
		{"no port", Config{Dir: t.TempDir(), ListenClient: "127.0.0.1"}, []string{"127.0.0.1: want IP:port"}},
		{"a host name", Config{Dir: t.TempDir(), ListenClient: "example.org:1"}, []string{"want an IP address", `"example.org"`}},
		{"a relative socket", Config{Dir: t.TempDir(), ListenClient: "unix://s"}, []string{"unix://s: want unix:// and an absolute path"}},
	} {
		s, err := Start(deadline(t), tc.config, quiet)
		if err == nil {
			s.Close()
			t.Errorf("%s: started", tc.name)
			continue
		}
		for _, want := range append(tc.want, "embedded etcd: ") {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", tc.name, err, want)
			}
		}
		if errors.Is(err, ErrInUse) != (tc.config.Dir == running) {
			t.Errorf("%s: %v, is ErrInUse: %v", tc.name, err, errors.Is(err, ErrInUse))
		}
	}
}

// damage writes nonsense over the beginning of the one file of a pattern.
func damage(t *testing.T, pattern string) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) != 1 {
		t.Fatalf("%s: %q, %v", pattern, files, err)
	}
	f, err := os.OpenFile(files[0], os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("nonsense", 1200)), 8); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestADirectoryThatMayNotBeWritten(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("TestADirectoryThatMayNotBeWritten needs a user other than root")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{dir, filepath.Join(dir, "etcd")} {
		_, err := Start(deadline(t), Config{Dir: dir}, quiet)
		if err == nil || !strings.Contains(err.Error(), dir+": permission denied") {
			t.Errorf("Start in %s: %v", dir, err)
		}
	}
}

func TestAFailedStartLeavesTheDirectoryFree(t *testing.T) {
	dir := t.TempDir()
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := Start(ended, Config{Dir: dir}, quiet); !errors.Is(err, context.Canceled) {
		t.Errorf("Start with an ended context: %v", err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	if _, err := Start(deadline(t), Config{Dir: dir, ListenClient: taken.Addr().String()}, quiet); err == nil {
		t.Error("started at an address in use")
	}
	s := run(t, Config{Dir: dir})
	put(t, s.Client(), "key", "value")
}

func TestCloseEndsWatchesOutsideAndLeavesNothingRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 2 {
		s := run(t, Config{Dir: t.TempDir()})
		cli, err := membership.Connect(deadline(t), s.Endpoints(), quiet)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(deadline(t))
		lists := make(chan struct{}, 100)
		watching := make(chan error, 1)
		go func() {
			r := membership.NewRegistry(cli, "job", time.Second, quiet)
			watching <- r.Watch(ctx, func([]membership.Member) { lists <- struct{}{} })
		}()
		<-lists
		lease, err := membership.NewRegistry(s.Client(), "job", time.Minute, quiet).
			Register(deadline(t), membership.Member{ID: "a", Pinned: -1})
		if err != nil {
			t.Fatal(err)
		}
		<-lists
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			s.Close()
		}()
		select {
		case <-closed:
		case <-deadline(t).Done():
			t.Fatal("Close hangs")
		}
		<-lease.Lost()
		cancel()
		<-watching
		cli.Close()
	}
	// etcd's own goroutines end a moment after it says so.
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for ctx := deadline(t); runtime.NumGoroutine() > before; {
		select {
		case <-look.C:
		case <-ctx.Done():
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestNothingIsSaidOfAnOrderlyLife(t *testing.T) {
	var said strings.Builder
	log := slog.New(slog.NewTextHandler(&said, nil))
	s, err := Start(deadline(t), Config{Dir: t.TempDir()}, log)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s.Client(), "key", "value")
	s.Close()
	if said.Len() > 0 {
		t.Errorf("it said:\n%s", said.String())
	}
}
