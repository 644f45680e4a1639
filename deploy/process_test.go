package deploy

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"
)

// limit bounds whatever waits for a process: far beyond what a slow machine
// takes, so that it ends a hang and not a test.
const limit = 3 * time.Minute

// process is a running program.
type process struct {
	t     *testing.T
	name  string
	cmd   *exec.Cmd
	ended chan struct{} // closed once it has ended and all it said is here

	mu   sync.Mutex    // guards the fields below
	said []byte        // standard output and error so far, line by line
	more chan struct{} // closed, and made anew, with each line
}

// start runs a pod as a process until it ends or the test does. The working
// directory is an empty one, and is to stay so.
func (p *pod) start(t *testing.T) *process {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	r := &process{t: t, name: p.program, ended: make(chan struct{}), more: make(chan struct{})}
	r.cmd = exec.Command(filepath.Join(dir, p.program), withoutPlanned(p.program, p.args)...)
	r.cmd.Env, r.cmd.Dir = p.env, t.TempDir()
	output, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.cmd.Stdout, r.cmd.Stderr = input, input
	err = r.cmd.Start()
	input.Close()
	if err != nil {
		output.Close()
		t.Fatal(err)
	}
	go r.listen(output)
	t.Cleanup(func() {
		r.kill()
		if t.Failed() {
			t.Logf("%s %q\n%s", p.program, p.args, r.output())
		}
		if left, err := os.ReadDir(r.cmd.Dir); err != nil || len(left) > 0 {
			t.Errorf("%s wrote %v to its working directory (%v)", p.program, left, err)
		}
	})
	return r
}

// listen takes in what the process says until its end.
func (r *process) listen(output io.ReadCloser) {
	defer close(r.ended)
	defer output.Close()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		r.mu.Lock()
		r.said = append(append(r.said, lines.Bytes()...), '\n')
		close(r.more)
		r.more = make(chan struct{})
		r.mu.Unlock()
	}
	_ = r.cmd.Wait() // the status is in ProcessState
}

// kill ends the process as kill -9 does, and waits until it is gone.
func (r *process) kill() {
	_ = r.cmd.Process.Kill() // one that has ended already is no fault
	select {
	case <-r.ended:
	case <-time.After(limit):
		r.t.Errorf("%s was killed, and something still holds its output after %v", r.name, limit)
	}
}

// end tells the process to end, as the kubelet does first, and waits for the status
// that it should end with.
func (r *process) end(want int) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.t.Fatalf("%s: %v", r.name, err)
	}
	if s := r.status(); s != want {
		r.t.Errorf("%s was told to stop and ended with status %d, want %d", r.name, s, want)
	}
}

func (r *process) output() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return string(r.said)
}

// says waits until the process has written a line that matches, and returns the
// match of the expression's group.
func (r *process) says(line *regexp.Regexp) string {
	r.t.Helper()
	patience := time.After(limit)
	for ended := false; ; {
		r.mu.Lock()
		said, more := bytes.Clone(r.said), r.more
		r.mu.Unlock()
		if m := line.FindSubmatch(said); m != nil {
			return string(m[len(m)-1])
		}
		if ended {
			r.t.Fatalf("%s ended without saying %q", r.name, line)
		}
		select {
		case <-more:
		case <-r.ended:
			ended = true
		case <-patience:
			r.t.Fatalf("%s has not said %q after %v", r.name, line, limit)
		}
	}
}

// status waits for the end of the process and returns its exit status.
func (r *process) status() int {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(limit):
		r.t.Fatalf("%s has not ended after %v", r.name, limit)
	}
	return r.cmd.ProcessState.ExitCode()
}

// running tells whether the process has not ended.
func (r *process) running() bool {
	select {
	case <-r.ended:
		return false
	default:
		return true
	}
}
