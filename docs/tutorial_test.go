package docs

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-train/muster/dataset"
)

func TestMain(m *testing.M) {
	if name := filepath.Base(os.Args[0]); isCluster(name) {
		if err := cluster(name, os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// limit ends a hang, far beyond what the tutorial takes on a slow machine and
// before go test ends this one.
const limit = 8 * time.Minute

// TestTutorial types all that tutorial.md tells the reader to type, in order, in
// one shell. Three things differ from a reader's machine: the images are few, so
// that it takes a minute; port 9000 may be somebody's and is another; and docker,
// kind and kubectl are stand-ins, which hold what they are told against the
// Dockerfile and the manifests (cluster_test.go).
func TestTutorial(t *testing.T) {
	if testing.Short() {
		t.Skip("the tutorial trains six times")
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("tutorial.md")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	bin := filepath.Join(home, "bin")
	standIns(t, bin)
	if python := os.Getenv("MUSTER_PYTHON"); python != "" { // the interpreter that has PyTorch
		if err := os.Symlink(python, filepath.Join(bin, "python3")); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	script := strings.ReplaceAll(commands(t, string(page), bin), "--port 9000", "--port "+port)

	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	shell := exec.CommandContext(ctx, "sh", "-eux")
	shell.Dir, shell.Stdin = root, strings.NewReader(script)
	// Whatever is left running when the shell fails goes with it.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	shell.WaitDelay = 10 * time.Second
	shell.Env = environment(t, home, bin, images(t), "MUSTER_SERVER=localhost:"+port, "MUSTER_HTTP=off", stateVariable+"="+t.TempDir())
	var out, errs bytes.Buffer
	shell.Stdout, shell.Stderr = &out, &errs
	err = shell.Run()
	_ = syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) // of what has ended well nothing is left
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, tail(out.String()), tail(errs.String()))
	}

	work := filepath.Join(home, "muster-tutorial")
	for _, name := range []string{"confusion.png", "muster-default/topology.json", "lenet5.safetensors", "compared/report.md"} {
		if info, err := os.Stat(filepath.Join(work, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s was not made: %v", name, err)
		}
	}
	eight, one := hash(t, work, "eight.txt"), hash(t, work, "one.txt")
	if eight != one {
		t.Errorf("eight workers came to %s, one to %s", eight, one)
	}
	for _, said := range []string{"images by class", "phase ", "cat.jpg\n", `"file":"-"`, "network lenet5", "report: compared/report.md"} {
		if !strings.Contains(squeeze(out.String()), said) {
			t.Errorf("the commands never printed %q:\n%s", said, tail(out.String()))
		}
	}
}

// fenced is a block of the page: what stands before it, and what is in it.
var fenced = regexp.MustCompile("(?ms)^(<!-- with PyTorch -->\n)?```sh\n(.*?)^```$")

// commands are the page's shell blocks, but for those that need what is not here.
func commands(t *testing.T, page, bin string) string {
	t.Helper()
	python := filepath.Join(bin, "python3")
	if _, err := os.Stat(python); err != nil {
		python = "python3"
	}
	var script strings.Builder
	for _, block := range fenced.FindAllStringSubmatch(page, -1) {
		if block[1] != "" && exec.Command(python, "-c", "import torch").Run() != nil {
			t.Logf("left out, since PyTorch is not installed:\n%s", block[2])
			continue
		}
		script.WriteString(block[2])
	}
	if script.Len() == 0 {
		t.Fatal("the page has no commands")
	}
	return script.String()
}

// environment is this process's without what sets flags, with a home of its own.
// Go's directories stay, since they hold what is compiled already.
func environment(t *testing.T, home, bin, data string, more ...string) []string {
	t.Helper()
	env := []string{"HOME=" + home, "GOPATH=" + filepath.Join(home, "go"), "MUSTER_DATA=" + data, "PATH=" + bin + string(os.PathListSeparator) + os.Getenv("PATH")}
	for _, name := range []string{"GOCACHE", "GOMODCACHE"} {
		value, err := exec.Command("go", "env", name).Output()
		if err != nil {
			t.Fatal(err)
		}
		env = append(env, name+"="+strings.TrimSpace(string(value)))
	}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		switch {
		case strings.HasPrefix(name, "MUSTER_"), name == "HOME", name == "PATH", name == "GOPATH", name == "GOBIN":
		default:
			env = append(env, e)
		}
	}
	return append(env, more...)
}

// images writes some of the synthetic images as CIFAR-10's files and returns
// their directory.
func images(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	set := dataset.Synthetic()
	write := func(name string, images *dataset.Images, n int) {
		var records []byte
		for i := range n {
			records = append(append(records, images.Labels[i]), images.Image(i)...)
		}
		if err := os.WriteFile(filepath.Join(dir, name), records, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("data_batch_1.bin", set.Train, 5000)
	write("test_batch.bin", set.Test, 200)
	return dir
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

var hashLine = regexp.MustCompile(`(?m)^parameters sha256:([0-9a-f]{64})$`)

func hash(t *testing.T, dir, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	m := hashLine.FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s holds no hash:\n%s", name, text)
	}
	return string(m[1])
}

// squeeze makes one space of several.
func squeeze(s string) string { return regexp.MustCompile(` +`).ReplaceAllString(s, " ") }

// tail is the end of a long text.
func tail(s string) string { return s[max(0, len(s)-6000):] }
