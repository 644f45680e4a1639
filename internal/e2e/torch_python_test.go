package e2e

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// torchCommand is Python with the file under test to import, and one thread.
func torchCommand(t *testing.T, python string, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := filepath.Abs("../../python")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(python, args...)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1", "PYTHONWARNINGS=ignore", "OMP_NUM_THREADS=1")
	return cmd
}

// torchSession is a Python process that answers one line of JSON with another.
type torchSession struct {
	cmd     *exec.Cmd
	stdin   io.WriteCloser
	answers *json.Decoder
	stderr  bytes.Buffer
}

func startTorch(t *testing.T, python string) *torchSession {
	t.Helper()
	s := &torchSession{cmd: torchCommand(t, python, "-c", torchDriver)}
	s.cmd.Stderr = &s.stderr
	var err error
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.answers = json.NewDecoder(stdout)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.stdin.Close() // its end
		if err := s.cmd.Wait(); err != nil || t.Failed() && s.stderr.Len() > 0 {
			t.Errorf("python: %v\n%s", err, &s.stderr)
		}
	})
	var hello struct{ Torch string }
	s.ask(t, map[string]any{"do": "version"}, &hello)
	t.Logf("PyTorch %s", hello.Torch)
	return s
}

func (s *torchSession) ask(t *testing.T, question, answer any) {
	t.Helper()
	hung := time.AfterFunc(limit, func() { _ = s.cmd.Process.Kill() })
	defer hung.Stop()
	if err := json.NewEncoder(s.stdin).Encode(question); err != nil {
		t.Fatalf("python: %v", err)
	}
	if err := s.answers.Decode(answer); err != nil {
		t.Fatalf("python, asked %v: %v", question, err)
	}
}

func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

//go:embed testdata/torch.py
var torchDriver string
