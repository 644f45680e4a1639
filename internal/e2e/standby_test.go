package e2e

import (
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-train/muster/internal/membership/embedded"
)

// electedJob is TestSameBits' job with servers that an etcd outside of them elects.
type electedJob struct {
	t    *testing.T
	etcd string
}

func newElectedJob(t *testing.T) *electedJob {
	t.Helper()
	etcd, err := embedded.Start(context.Background(), embedded.Config{Dir: filepath.Join(t.TempDir(), "etcd"), ListenClient: "127.0.0.1:0"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	return &electedJob{t, etcd.Endpoints()[0]}
}

// server starts one with a directory of its own.
func (j *electedJob) server(more ...string) *process {
	j.t.Helper()
	flags := append(serverFlags(j.t.TempDir()), "--etcd", j.etcd, "--listen", "127.0.0.1:0", "--http", "off")
	return start(j.t, "paramserver", append(flags, more...)...)
}

func (j *electedJob) workers(n int) (all []*process) {
	j.t.Helper()
	for range n {
		all = append(all, j.worker())
	}
	return all
}

func (j *electedJob) worker(more ...string) *process {
	j.t.Helper()
	flags := []string{"--etcd", j.etcd, "--job", "samebits", "--data", data, "--threads", "1"}
	return start(j.t, "worker", append(flags, more...)...)
}

// address is where a server says that it is reached.
func address(t *testing.T, server *process) string {
	t.Helper()
	server.say("parameter server ready")
	m := regexp.MustCompile(`parameter server ready.* address=(\S+)`).FindStringSubmatch(server.stderr())
	if m == nil {
		t.Fatalf("%s doesn't say where it is reached", server.name)
	}
	return m[1]
}

// followed starts a server that leads, a standby that follows it, and two workers, and
// returns once the job has come to a step, which it tells.
func (j *electedJob) followed() (leader, standby *process, all []*process, step uint64) {
	j.t.Helper()
	leader = j.server()
	leader.say("this server leads")
	standby = j.server("--standby")
	standby.say("following the server that leads")
	leader.say("standby joined")
	all = j.workers(2)
	client := api(j.t, address(j.t, leader))
	return leader, standby, all, reach(j.t, client, 3).Step
}

// tookOver checks that a standby went on from a step or later.
func tookOver(t *testing.T, standby *process, least uint64) {
	t.Helper()
	m := regexp.MustCompile(`msg=resumed checkpoint=memory step=(\d+)`).FindStringSubmatch(standby.stderr())
	if m == nil {
		t.Fatal("the standby did not go on from what it had followed")
	}
	if got := number(t, m[1]); got < int(least) || got >= epochs*batches {
		t.Errorf("the standby went on from step %d; %d had been published, and the job is done at %d", got, least, epochs*batches)
	}
}

func TestSameBitsWithAStandby(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSameBitsWithAStandby starts many processes")
	}
	want := inProcess(t, job(), 1, 1).Hash
	for _, tc := range []struct {
		name string
		run  func(t *testing.T) string
	}{
		{"that follows to the end", standbyUnused},
		{"that takes the place of one that was killed", leaderKilled},
		{"that takes the place of one that stands still, and comes back", leaderStopped},
		{"that is handed the job", leaderTerminated},
		{"whose own place another one takes", twoLeadersKilled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.run(t); got != want {
				t.Errorf("parameters sha256:%s, want %s", got, want)
			}
		})
	}
}

func standbyUnused(t *testing.T) string {
	leader, standby, all, _ := newElectedJob(t).followed()
	hash := leader.hash()
	ended(t, append(all, standby))
	return hash
}

func leaderKilled(t *testing.T) string {
	leader, standby, all, step := newElectedJob(t).followed()
	leader.kill()
	hash := standby.hash()
	ended(t, all)
	tookOver(t, standby, step)
	return hash
}

func leaderStopped(t *testing.T) string {
	leader, standby, all, step := newElectedJob(t).followed()
	signal := func(s syscall.Signal) {
		if err := leader.cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
	}
	signal(syscall.SIGSTOP)
	standby.say("this server leads the job")
	signal(syscall.SIGCONT)
	if s := leader.status(); s != 1 || !strings.Contains(leader.stderr(), "another server leads the job") {
		t.Errorf("the server that was deposed ended with status %d", s)
	}
	hash := standby.hash()
	ended(t, all)
	tookOver(t, standby, step)
	return hash
}

func leaderTerminated(t *testing.T) string {
	leader, standby, all, step := newElectedJob(t).followed()
	if err := leader.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if s := leader.status(); s != 0 || !strings.Contains(leader.out.String(), "a standby has the state and takes the job over") {
		t.Errorf("the server that handed the job over ended with status %d: %s", s, &leader.out)
	}
	hash := standby.hash()
	ended(t, all)
	tookOver(t, standby, step)
	return hash
}

func twoLeadersKilled(t *testing.T) string {
	j := newElectedJob(t)
	leader, standby, all, _ := j.followed()
	leader.kill()
	standby.say("this server leads the job")
	second := j.server("--standby")
	second.say("standby ready")
	step := reach(t, api(t, address(t, standby)), 5).Step
	standby.kill()
	hash := second.hash()
	ended(t, all)
	tookOver(t, second, step)
	return hash
}

func TestOneServerLeads(t *testing.T) {
	if testing.Short() {
		t.Skip("TestOneServerLeads starts processes")
	}
	j := newElectedJob(t)
	leader := j.server()
	leader.say("this server leads")
	other := j.server()
	if s := other.status(); s != 2 || !regexp.MustCompile(`job "samebits" is led by server server-\w+ at \S+; --standby follows it`).MatchString(other.stderr()) {
		t.Errorf("a second server ended with status %d: %s", s, other.stderr())
	}
	// A standby that has nothing of a job that has begun doesn't begin it anew.
	j.workers(1)
	reach(t, api(t, address(t, leader)), 1)
	leader.kill()
	late := j.server("--standby")
	late.say("nobody leads the job, and this standby can't")
	late.kill()
}

// A standby may follow for days: nobody may restart it for that, nor lead workers to it.
func TestAStandbyIsInHealthAndReadyOnceItLeads(t *testing.T) {
	if testing.Short() {
		t.Skip("TestAStandbyIsInHealthAndReadyOnceItLeads starts several processes")
	}
	j := newElectedJob(t)
	leader := j.server()
	leader.say("this server leads")
	standby := j.server("--standby", "--http", "127.0.0.1:0")
	standby.say("following the server that leads")
	standby.say("metrics and probes")
	at := regexp.MustCompile(`metrics and probes.* http=(\S+)`).FindStringSubmatch(standby.stderr())
	if at == nil {
		t.Fatal("the standby doesn't say where it is asked")
	}
	get := func(path string) int {
		t.Helper()
		r, err := http.Get("http://" + at[1] + path)
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		return r.StatusCode
	}
	if healthy, ready, metrics := get("/healthz"), get("/readyz"), get("/metrics"); healthy != 200 || ready != 503 || metrics != 200 {
		t.Errorf("healthz %d, readyz %d, metrics %d; want 200, 503, 200", healthy, ready, metrics)
	}
	leader.kill()
	standby.say("parameter server ready")
	if healthy, ready := get("/healthz"), get("/readyz"); healthy != 200 || ready != 200 {
		t.Errorf("once it leads: healthz %d, readyz %d; want 200", healthy, ready)
	}
}

// A server that starts while etcd is away waits for it, as a worker does.
func TestAServerWaitsForEtcd(t *testing.T) {
	if testing.Short() {
		t.Skip("TestAServerWaitsForEtcd starts several processes")
	}
	dir, err := os.MkdirTemp("", "e2e") // short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	j := &electedJob{t, "unix://" + filepath.Join(dir, "e")}
	server, all := j.server(), j.workers(1)
	server.say("waiting for etcd")
	etcd, err := embedded.Start(context.Background(), embedded.Config{Dir: filepath.Join(dir, "etcd"), ListenClient: j.etcd}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(etcd.Close)
	server.hash()
	ended(t, all)
}
