package e2e

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/muster-train/muster/dataset"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

var (
	programs string // directory of the binaries under test
	data     string // directory of the images of TestSameBits
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "muster-e2e-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		args := []string{"build", "-o", dir + string(filepath.Separator)}
		if raceEnabled {
			args = append(args, "-race")
		}
		build := exec.Command("go", append(args, "../../cmd/muster", "../../cmd/paramserver", "../../cmd/worker")...)
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
			return 1
		}
		programs, data = dir, filepath.Join(dir, "data")
		if err := writeImages(data); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// writeImages writes some of the synthetic images as CIFAR-10's binary files.
func writeImages(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	set := dataset.Synthetic()
	for name, part := range map[string]struct {
		images *dataset.Images
		n      int
	}{"data_batch_1.bin": {set.Train, trainImages}, "test_batch.bin": {set.Test, testImages}} {
		var records []byte
		for i := range part.n {
			records = append(append(records, part.images.Labels[i]), part.images.Image(i)...)
		}
		if err := os.WriteFile(filepath.Join(dir, name), records, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// limit bounds whatever waits for a process: far beyond what a slow machine
// takes, so that it ends a hang and not a test.
const limit = 3 * time.Minute

// process is a running program.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	out  bytes.Buffer // standard output; complete once ended is closed

	mu    sync.Mutex    // guards err and more
	err   []byte        // standard error so far
	more  chan struct{} // closed, and made anew, with each line of it
	ended chan struct{}
	wait  error // what Wait returned, once ended is closed
}

// start runs a program until it ends or the test does.
func start(t *testing.T, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: program, cmd: exec.Command(filepath.Join(programs, program), args...), ended: make(chan struct{}), more: make(chan struct{})}
	p.cmd.Stdout = &p.out
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			p.mu.Lock()
			p.err = append(append(p.err, lines.Bytes()...), '\n')
			close(p.more)
			p.more = make(chan struct{})
			p.mu.Unlock()
		}
		p.wait = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.kill()
		if t.Failed() {
			t.Logf("%s %s\n%s", program, strings.Join(args, " "), p.stderr())
		}
	})
	return p
}

// kill ends the process as kill -9 does, and waits until it is gone and nobody
// holds its standard error any more.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // one that has ended already is no fault
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.t.Errorf("%s was killed, and something it started still holds its standard error after %v", p.name, limit)
	}
}

func (p *process) stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return string(p.err)
}

// say waits until the process has written text to its standard error.
func (p *process) say(text string) {
	p.t.Helper()
	patience := time.After(limit)
	for {
		p.mu.Lock()
		said, more := bytes.Contains(p.err, []byte(text)), p.more
		p.mu.Unlock()
		if said {
			return
		}
		select {
		case <-more:
		case <-p.ended:
			if !strings.Contains(p.stderr(), text) {
				p.t.Fatalf("%s ended without saying %q", p.name, text)
			}
			return
		case <-patience:
			p.t.Fatalf("%s has not said %q after %v", p.name, text, limit)
		}
	}
}

// status waits for the end of the process and returns its exit status.
func (p *process) status() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(limit):
		p.t.Fatalf("%s has not ended after %v", p.name, limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

var hashLine = regexp.MustCompile(`(?m)^parameters sha256:([0-9a-f]{64})$`)

// hash waits for the end of the process, which must be a success, and returns
// the hash it printed.
func (p *process) hash() string {
	p.t.Helper()
	if s := p.status(); s != 0 {
		p.t.Fatalf("%s ended with status %d", p.name, s)
	}
	m := hashLine.FindStringSubmatch(p.out.String())
	if m == nil {
		p.t.Fatalf("%s printed no hash:\n%s", p.name, &p.out)
	}
	return m[1]
}

// api returns a client of the server at a unix socket.
func api(t *testing.T, address string) musterv1.MusterServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return musterv1.NewMusterServiceClient(conn)
}

// reach waits until the server has applied step, by asking it.
func reach(t *testing.T, server musterv1.MusterServiceClient, step uint64) *musterv1.StatusResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		s, err := server.Status(ctx, &musterv1.StatusRequest{}, grpc.WaitForReady(true))
		if ctx.Err() != nil {
			t.Fatalf("step %d was not reached: %v", step, err)
		}
		if err == nil && s.Step >= step {
			return s
		}
	}
}
