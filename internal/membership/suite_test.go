package membership_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
)

// patience bounds every wait; nothing waits that long unless it is broken.
const patience = 60 * time.Second

// cluster is an etcd to run the suite against.
type cluster interface {
	// client returns a client, closed when the test ends.
	client(t *testing.T) *clientv3.Client
	// restart kills the etcd, or closes it where it can't be killed, and starts it
	// again at the same address; survives tells whether clients go on after that.
	restart(t *testing.T)
	survives() bool
}

func TestRegistryInsideTheProcess(t *testing.T) {
	suite(t, &inProcess{dir: t.TempDir()})
}

func TestRegistryOverTheEmbeddedSocket(t *testing.T) {
	suite(t, &inProcess{dir: t.TempDir(), outside: true})
}

func TestRegistryOverAnEtcdProcess(t *testing.T) {
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("TestRegistryOverAnEtcdProcess needs an etcd binary in PATH")
	}
	suite(t, &process{binary: binary, dir: t.TempDir()})
}

// suite runs all tests of a registry against one etcd, side by side, each in a
// job of its own.
func suite(t *testing.T, c cluster) {
	c.restart(t)
	t.Run("all", func(t *testing.T) {
		for name, test := range behaviours {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, c)
			})
		}
	})
	if c.survives() {
		t.Run("WatchSurvivesARestart", func(t *testing.T) { watchSurvivesARestart(t, c) })
		t.Run("LeadershipSurvivesARestart", func(t *testing.T) { leadershipSurvivesARestart(t, c) })
	}
}

// inProcess is an embedded etcd.
type inProcess struct {
	dir     string
	outside bool // its clients come over its socket
	server  *embedded.Server
}

func (c *inProcess) survives() bool { return c.outside }

func (c *inProcess) restart(t *testing.T) {
	if c.server != nil {
		c.server.Close()
	}
	server, err := embedded.Start(deadline(t), embedded.Config{Dir: c.dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	c.server = server
	t.Cleanup(server.Close)
}

func (c *inProcess) client(t *testing.T) *clientv3.Client {
	if !c.outside {
		return c.server.Client()
	}
	return connect(t, c.server.Endpoints())
}

// process is an etcd of its own.
type process struct {
	binary, dir   string
	clients, raft string // URLs
	command       *exec.Cmd
}

func (c *process) survives() bool { return true }

func (c *process) restart(t *testing.T) {
	if c.command == nil {
		c.clients, c.raft = "http://"+freeAddress(t), "http://"+freeAddress(t)
	} else {
		c.kill()
	}
	var said bytes.Buffer
	command := exec.Command(c.binary, "--name", "one", "--data-dir", filepath.Join(c.dir, "etcd"),
		"--listen-client-urls", c.clients, "--advertise-client-urls", c.clients,
		"--listen-peer-urls", c.raft, "--initial-advertise-peer-urls", c.raft,
		"--initial-cluster", "one="+c.raft,
		"--heartbeat-interval", "50", "--election-timeout", "500")
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	c.command = command
	t.Cleanup(c.kill)
	cli, err := membership.Connect(deadline(t), []string{c.clients}, slog.New(slog.DiscardHandler))
	if err != nil {
		c.kill()
		t.Fatalf("%v; it said:\n%s", err, said.String())
	}
	cli.Close()
}

func (c *process) kill() {
	c.command.Process.Kill()
	c.command.Wait()
}

func (c *process) client(t *testing.T) *clientv3.Client {
	return connect(t, []string{c.clients})
}

// freeAddress returns an address on which nothing listened a moment ago.
func freeAddress(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func connect(t *testing.T, endpoints []string) *clientv3.Client {
	cli, err := membership.Connect(deadline(t), endpoints, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cli.Close() })
	return cli
}

// deadline returns a context that ends with the test, or when patience does.
func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// registry returns the registry of a job named after the test. Its leases
// outlive any pause of a busy machine.
func registry(t *testing.T, cli *clientv3.Client) *membership.Registry {
	return expiring(t, cli, 30*time.Second)
}

// expiring is a registry of the same job whose leases have a short time to live.
func expiring(t *testing.T, cli *clientv3.Client, ttl time.Duration) *membership.Registry {
	return membership.NewRegistry(cli, job(t), ttl, slog.New(slog.DiscardHandler))
}

func job(t *testing.T) string {
	return regexp.MustCompile(`[^A-Za-z0-9]+`).ReplaceAllString(t.Name(), "-")
}

// diary keeps what is logged.
type diary struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.Write(p)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.String()
}

// worker registers an unpinned worker.
func worker(t *testing.T, r *membership.Registry, id string) *membership.Lease {
	t.Helper()
	lease, err := r.Register(deadline(t), membership.Member{ID: id, Pinned: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(lease.Abandon)
	return lease
}

// watched is a running Watch.
type watched struct {
	t     *testing.T
	lists chan string
	ended chan error
	stop  context.CancelFunc
}

// watch starts a Watch, which ends with the test.
func watch(t *testing.T, r *membership.Registry) *watched {
	ctx, stop := context.WithCancel(deadline(t))
	w := &watched{t: t, lists: make(chan string), ended: make(chan error, 1), stop: stop}
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		w.ended <- r.Watch(ctx, func(members []membership.Member) {
			select {
			case w.lists <- ids(members):
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		stop()
		<-finished
	})
	return w
}

// expect waits for the next list and compares it.
func (w *watched) expect(want string) {
	w.t.Helper()
	if got := w.next(); got != want {
		w.t.Fatalf("watched workers %q, want %q", got, want)
	}
}

// until passes over lists until there is one as wanted.
func (w *watched) until(want string) {
	w.t.Helper()
	for w.next() != want {
	}
}

func (w *watched) next() string {
	w.t.Helper()
	select {
	case got := <-w.lists:
		return got
	case err := <-w.ended:
		w.t.Fatalf("watch ended: %v", err)
	case <-deadline(w.t).Done():
		w.t.Fatal("nothing was watched")
	}
	return ""
}

func ids(members []membership.Member) string {
	words := make([]string, len(members))
	for i, m := range members {
		words[i] = m.ID
	}
	return strings.Join(words, " ")
}

// await waits for a channel to be closed.
func await(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-deadline(t).Done():
		t.Fatalf("waited in vain for %s", what)
	}
}
