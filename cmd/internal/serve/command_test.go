package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/paramserver"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// paramserverIn runs the program in this process and returns its status and output.
func paramserverIn(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	cmd := Command()
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	cmd.SetArgs(args)
	status = settings.Main(ctx, cmd)
	return status, out.String(), errs.String()
}

// tiny is a set of 16 training and 8 test images.
func tiny() *dataset.Set {
	images := func(n int) *dataset.Images {
		im := &dataset.Images{Pixels: make([]byte, n*dataset.PixelBytes), Labels: make([]uint8, n), Side: dataset.Side}
		for i := range im.Pixels {
			im.Pixels[i] = byte(i * 7 % 251)
		}
		for i := range im.Labels {
			im.Labels[i] = uint8(i % 10)
		}
		return im
	}
	return &dataset.Set{Name: "tiny", Train: images(16), Test: images(8), Classes: strings.Split("abcdefghij", ""), Source: "built in", Synthetic: true}
}

// work runs a worker over tiny until its job ends.
func work(ctx context.Context, t *testing.T, address string) error {
	t.Helper()
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	client, err := worker.Dial(address, worker.DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	cfg := worker.DefaultConfig()
	cfg.ID, cfg.Data, cfg.Device = "worker-1", tiny(), d
	w, err := worker.New(cfg, client)
	if err != nil {
		t.Fatal(err)
	}
	return w.Run(ctx)
}

// TestParamserverTrainsAndGoesOn runs a job of 2 steps, the same again, which
// is done already, and one more epoch.
func TestParamserverTrainsAndGoesOn(t *testing.T) {
	dir := folder(t)
	address := "unix://" + filepath.Join(dir, "s")
	args := []string{
		"--listen", address, "--network", "lenet5", "--shards", "2", "--batch", "8", "--lr", "0.001",
		"--checkpoint-dir", filepath.Join(dir, "job"), "--json",
	}
	hashes := map[string]bool{}
	for _, tc := range []struct {
		epochs string
		step   float64
		known  bool // the parameters are those of the run before
	}{
		{"1", 2, false},
		{"1", 2, true},
		{"2", 4, false},
	} {
		working, cancel := context.WithCancel(t.Context())
		worked := make(chan error, 1)
		go func() { worked <- work(working, t, address) }()
		status, stdout, stderr := paramserverIn(t.Context(), append(args, "--epochs", tc.epochs)...)
		cancel()
		if err := <-worked; err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("the worker ended with %v", err)
		}
		var line struct {
			Network   string
			Step      float64
			Hash      string `json:"parameters_sha256"`
			Done      bool
			Synthetic bool
			Epochs    []struct{ Top1 float64 }
		}
		if err := json.Unmarshal([]byte(stdout), &line); err != nil || status != settings.StatusDone {
			t.Fatalf("status %d, %v\n%s%s", status, err, stdout, stderr)
		}
		if line.Network != "lenet5" || line.Step != tc.step || len(line.Hash) != 64 || !line.Done || !line.Synthetic || len(line.Epochs) != int(tc.step/2) {
			t.Errorf("--epochs %s printed %s", tc.epochs, stdout)
		}
		if hashes[line.Hash] != tc.known {
			t.Errorf("--epochs %s: parameters of a run before: %v, want %v", tc.epochs, hashes[line.Hash], tc.known)
		}
		hashes[line.Hash] = true
	}
}

func TestParamserverRefusesBeforeItTouchesAnything(t *testing.T) {
	dir := folder(t)
	t.Chdir(dir)
	path := filepath.Join(dir, "s")
	listening(t, "unix", path)
	for _, args := range [][]string{
		{"--listen", "unix://" + path},
		{"--listen", "unix://" + path + "2", "--network", "lenet6"},
		{"--listen", "unix://" + path + "2", "--epochs", "0"},
	} {
		status, stdout, stderr := paramserverIn(t.Context(), args...)
		if status != settings.StatusUsage || stdout != "" || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%q: status %d, printed %q and %q; want %d and one line of error", args, status, stdout, stderr, settings.StatusUsage)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v; want the other's socket alone", left, err)
	}
}

// TestStoppedParamserverSaysSo stops one that waits for workers: there is
// nothing to save yet.
func TestStoppedParamserverSaysSo(t *testing.T) {
	dir := folder(t)
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan struct{})
	go func() {
		defer cancel()
		defer close(ready)
		address := "unix://" + filepath.Join(dir, "s")
		client, err := worker.Dial(address, worker.DialOptions{})
		if err != nil {
			t.Error(err)
			return
		}
		defer client.Close()
		for t.Context().Err() == nil { // until it answers
			if _, err = client.Join(t.Context(), &musterv1.JoinRequest{Worker: "w"}); err == nil {
				return
			}
		}
	}()
	status, stdout, stderr := paramserverIn(ctx, "--listen", "unix://"+filepath.Join(dir, "s"), "--network", "lenet5",
		"--checkpoint-dir", filepath.Join(dir, "job"))
	<-ready
	if status != settings.StatusStopped || !strings.HasSuffix(stderr, "paramserver: stopped at step 0\n") ||
		!strings.HasPrefix(stdout, "parameters sha256:") {
		t.Errorf("status %d, printed %q and %q", status, stdout, stderr)
	}
}

func TestReport(t *testing.T) {
	job := &musterv1.JobSpec{Name: "j", Network: "lenet5"}
	r := paramserver.Result{Step: 7, Hash: "f00d", Checkpoint: "dir/step-7.ckpt"}
	for _, tc := range []struct {
		name       string
		result     paramserver.Result
		err        error
		json       bool
		status     int
		out, error string // parts
	}{
		{"done", r, nil, false, settings.StatusDone, "parameters sha256:f00d\n", ""},
		{"done, as JSON", r, nil, true, settings.StatusDone, `"parameters_sha256":"f00d"`, ""},
		{"stopped", r, paramserver.ErrStopped, false, settings.StatusStopped, "parameters sha256:f00d\n", "stopped at step 7; the state is saved in dir/step-7.ckpt"},
		{"stopped, as JSON", r, errors.Join(paramserver.ErrStopped, nil), true, settings.StatusStopped, `"done":false`, "stopped at step 7"},
		{"stopped without a checkpoint", paramserver.Result{Step: 7, Hash: "f00d"}, paramserver.ErrStopped, false, settings.StatusStopped, "parameters", "stopped at step 7"},
		{"stopped without a part", paramserver.Result{Step: 7, Torn: true, Checkpoint: "dir/step-5.ckpt", Resumes: 5}, paramserver.ErrStopped, false, settings.StatusStopped, "", "the same command goes on from step 5"},
		{"not finite", r, paramserver.ErrNotFinite, false, settings.StatusFault, "", "not finite"},
	} {
		var out bytes.Buffer
		err := Report(&out, tc.json, job, tc.result, tc.err)
		if settings.Status(err) != tc.status || !strings.Contains(out.String(), tc.out) || tc.out == "" && out.Len() > 0 {
			t.Errorf("%s: printed %q, status %d (%v); want %q, %d", tc.name, out.String(), settings.Status(err), err, tc.out, tc.status)
		}
		if err != nil && !strings.Contains(err.Error(), tc.error) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.error)
		}
		if tc.result.Checkpoint == "" && err != nil && strings.Contains(err.Error(), "saved") {
			t.Errorf("%s: %v, but nothing was saved", tc.name, err)
		}
	}
}
