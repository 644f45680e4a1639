package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// statusLine is what this test reads of a line of `muster status --json`.
type statusLine struct {
	Phase      string
	Synthetic  *bool
	Unowned    []int `json:"unowned_shards"`
	Step       int
	TotalSteps *int `json:"total_steps"`
	Samples    int
	Checkpoint *string
	Best       *struct{ Step int } `json:"best_evaluation"`
	Received   int                 `json:"received_bytes"`
	Workers    []struct {
		Shards    []int
		Pinned    *int `json:"pinned_shard"`
		Connected bool
		Images    int
	}
}

// statuses parses lines of JSON.
func statuses(t *testing.T, text string) []statusLine {
	t.Helper()
	var all []statusLine
	for line := range strings.Lines(text) {
		var s statusLine
		if err := json.Unmarshal([]byte(line), &s); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, s)
	}
	return all
}

// TestStatusOfAJob follows a job from before its server is there: it waits for
// a worker, for the worker of one more shard, is trained, and is done.
func TestStatusOfAJob(t *testing.T) {
	if testing.Short() {
		t.Skip("TestStatusOfAJob starts many processes")
	}
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	ask := func(more ...string) string {
		t.Helper()
		p := start(t, "muster", append([]string{"status", "--server", address}, more...)...)
		if s := p.status(); s != 0 || p.stderr() != "" {
			t.Fatalf("muster status ended with status %d", s)
		}
		return p.out.String()
	}
	work := func(args ...string) *process {
		t.Helper()
		return start(t, "worker", append([]string{"--server", address, "--data", "synthetic", "--threads", "1"}, args...)...)
	}
	watch := start(t, "muster", "status", "--server", address, "--watch", "--interval", "10ms", "--json")
	watch.say("no parameter server answers; trying again")

	server := start(t, "paramserver", "--listen", address, "--network", "lenet5", "--shards", "2", "--batch", "8", "--epochs", "2", "--limit-batches", "5",
		"--checkpoint-dir", filepath.Join(dir, "job"), "--when-done", "wait", "--shard-timeout", "10m")
	server.say("parameter server ready")
	if got := ask(); !strings.Contains(got, "\nphase        waiting for workers for shards 0-1 of 2\nstep         0\n") || !strings.Contains(got, "\nworkers      -\n") {
		t.Errorf("before any worker:\n%s", got)
	}

	all := []*process{work("--shard", "1/2")}
	server.say("shards assigned")
	if got := ask(); !strings.Contains(got, "\nimages       synthetic, not CIFAR-10\n") ||
		!strings.Contains(got, "\nphase        waiting for workers for shard 0 of 2\nstep         0 of 10 (0 %)\nepoch        1 of 2, batch 1 of 5\n") ||
		!regexp.MustCompile(`\nworker-\S+ +\S+ +cpu/1 \S+ +1 +pinned 1/2 +(memory|stream) +- +- +\d\n$`).MatchString(got) {
		t.Errorf("before the second worker:\n%s", got)
	}

	all = append(all, work())
	server.say("the job is done; answering until stopped")
	if s := watch.status(); s != 0 {
		t.Errorf("the watch ended with status %d, want 0", s)
	}
	ended(t, all)
	last := statuses(t, ask("--json"))
	if len(last) != 1 {
		t.Fatalf("%d lines, want one", len(last))
	}
	s := last[0]
	if s.Phase != "done" || s.Synthetic == nil || !*s.Synthetic || len(s.Unowned) != 0 || s.Step != 10 || s.TotalSteps == nil || *s.TotalSteps != 10 || s.Samples != 80 ||
		s.Best == nil || s.Received == 0 {
		t.Errorf("at the end: %+v", s)
	}
	if s.Checkpoint == nil {
		t.Error("no checkpoint at the end")
	} else if _, err := os.Stat(*s.Checkpoint); err != nil {
		t.Error(err)
	}
	if got := ask(); !strings.Contains(got, "\nphase        done\nstep         10 of 10 (100 %)\n") {
		t.Errorf("at the end:\n%s", got)
	}

	watched := statuses(t, watch.out.String())
	phases := map[string]bool{}
	step := 0
	for _, s := range watched {
		phases[s.Phase] = true
		if s.Step < step {
			t.Errorf("step %d after step %d", s.Step, step)
		}
		step = s.Step
	}
	if n := len(watched); !phases["waiting"] || n == 0 || watched[n-1].Phase != "done" || watched[n-1].Step != 10 {
		t.Errorf("%d statuses of phases %v; want one that waits, and at last one that is done", n, phases)
	}
	if got := watch.stderr(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "the parameter server answers") {
		t.Errorf("the watch said\n%s\nwant that it waited, and that the server answered", got)
	}
	if err := server.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if s := server.status(); s != 0 {
		t.Errorf("the server ended with status %d, want 0", s)
	}
}

// TestWatchEndsWithAServerThatDoesNotWait has one that is gone as soon as its
// job is done, or has failed, between two statuses.
func TestWatchEndsWithAServerThatDoesNotWait(t *testing.T) {
	if testing.Short() {
		t.Skip("TestWatchEndsWithAServerThatDoesNotWait starts processes")
	}
	for _, tc := range []struct {
		lr, said       string
		server, status int
	}{
		{"0.01", `"the parameter server has ended" seen="waiting, step 0"`, 0, 0},
		{"1e30", "muster: the job has failed (last seen: waiting, step 0); its parameter server says why", 1, 1}, // NaN before long
	} {
		dir := t.TempDir()
		address := "unix://" + filepath.Join(dir, "s")
		server := start(t, "paramserver", "--listen", address, "--network", "lenet5", "--shards", "2", "--batch", "8", "--epochs", "1", "--limit-batches", "5",
			"--lr", tc.lr, "--checkpoint-dir", filepath.Join(dir, "job"))
		server.say("parameter server ready")
		watch, lines := watchFirst(t, address)
		start(t, "worker", "--server", address, "--data", "synthetic", "--threads", "1")
		if s := server.status(); s != tc.server {
			t.Errorf("with --lr %s the server ended with status %d, want %d", tc.lr, s, tc.server)
		}
		rest, err := io.ReadAll(lines)
		if err != nil {
			t.Fatal(err)
		}
		_ = watch.Wait() // its status is looked at
		if got := watch.ProcessState.ExitCode(); got != tc.status {
			t.Errorf("with --lr %s the watch ended with status %d, want %d", tc.lr, got, tc.status)
		}
		if len(rest) > 0 {
			t.Errorf("the watch showed more than the first status: %s", rest)
		}
		if got := watch.Stderr.(*bytes.Buffer).String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, tc.said) {
			t.Errorf("with --lr %s the watch said %q, want %q", tc.lr, got, tc.said)
		}
	}
}

// watchFirst watches a server with statuses an hour apart, and returns once the
// first has been shown: there is somebody then who listens for the end.
func watchFirst(t *testing.T, address string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	watch := exec.CommandContext(ctx, filepath.Join(programs, "muster"), "status", "--server", address, "--watch", "--interval", "1h", "--timeout", "1m", "--json")
	watch.Stderr = &bytes.Buffer{}
	out, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	first, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(t, first); got[0].Phase != "waiting" {
		t.Errorf("the watch showed %+v first", got)
	}
	return watch, lines
}
