package main

import (
	"context"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// trained is what `muster train --json` prints.
type trained struct {
	Step      uint64
	Samples   uint64
	Hash      string `json:"parameters_sha256"`
	Done      bool
	Synthetic bool
	Epochs    []struct {
		Loss float64 `json:"test_loss"`
		Top1 float64
		Top5 float64
	}
}

// evaluated is what `muster evaluate --json` prints.
type evaluated struct {
	Step       uint64
	Loss       float64
	Top1, Top5 float64
	Samples    int
	Classes    []classLine
}

// job are the flags of a job of 3 steps an epoch.
func job(dir, data string) []string {
	return []string{
		"train", "--network", "lenet5", "--shards", "4", "--batch", "8", "--epochs", "2", "--lr", "0.001", "--threads", "1",
		"--data", data, "--checkpoint-dir", dir, "--log-level", "error",
	}
}

// TestEvaluateSaysWhatTrainingSaid compares to the last digit.
func TestEvaluateSaysWhatTrainingSaid(t *testing.T) {
	data, dir := images(t, 0), filepath.Join(folder(t), "job")
	var run trained
	prints(t, &run, append(job(dir, data), "--json")...)
	if run.Step != 6 || run.Samples != 36 || !run.Done || run.Synthetic || len(run.Epochs) != 2 {
		t.Fatalf("training came to %+v", run)
	}
	var e evaluated
	prints(t, &e, "evaluate", "--checkpoint", dir, "--data", data, "--threads", "2", "--json", "--log-level", "error")
	last := run.Epochs[1]
	if e.Step != 6 || e.Loss != last.Loss || e.Top1 != last.Top1 || e.Top5 != last.Top5 || e.Samples != 150 {
		t.Errorf("evaluate says %+v, training said %+v", e, last)
	}
	images, correct := 0, 0
	for _, c := range e.Classes {
		images, correct = images+c.Images, correct+c.Correct
	}
	if images != 150 || float64(correct)/150 != last.Top1 || len(e.Classes) != 10 {
		t.Errorf("the %d classes have %d images and %d right, training said %v", len(e.Classes), images, correct, last.Top1)
	}

	// The best is one of the two.
	prints(t, &e, "evaluate", "--checkpoint", dir, "--which", "best", "--data", data, "--json", "--log-level", "error")
	if best := run.Epochs[e.Step/3-1]; e.Loss != best.Loss || best.Top1 < max(run.Epochs[0].Top1, run.Epochs[1].Top1) {
		t.Errorf("the best is said to be %+v, of %+v", e, run.Epochs)
	}
	status, stdout, _ := muster(t.Context(), "evaluate", "--checkpoint", dir, "--data", data)
	if status != settings.StatusDone || !strings.HasPrefix(stdout, "lenet5, step 6, cifar10: loss ") || !strings.Contains(stdout, "of 150 images\n") {
		t.Errorf("evaluate prints %q, status %d", stdout, status)
	}
	diverged(t, dir, data)
	otherLayout(t, dir, data)
	otherImages(t, dir)
}

// otherImages checks that figures of images that the network does not know by
// their classes are refused, and of others of the same classes are warned of.
func otherImages(t *testing.T, dir string) {
	t.Helper()
	status, stdout, stderr := muster(t.Context(), "evaluate", "--checkpoint", dir, "--data", "synthetic")
	if status != settings.StatusUsage || stdout != "" || !oneLine(stderr) || !strings.Contains(stderr, "trained on other images") {
		t.Errorf("on synthetic images: status %d, %q", status, stderr)
	}
	renamed := change(t, dir, func(s *checkpoint.State) { s.Data.ClassNames = strings.Split("abcdefghij", "") })
	status, stdout, stderr = muster(t.Context(), "evaluate", "--checkpoint", renamed, "--data", images(t, 0))
	if status != settings.StatusUsage || stdout != "" || !strings.Contains(stderr, "images of a, b, c") {
		t.Errorf("on images of other classes: status %d, %q", status, stderr)
	}
	status, _, stderr = muster(t.Context(), "evaluate", "--checkpoint", dir, "--data", images(t, 1))
	if status != settings.StatusDone || !strings.Contains(stderr, "not the images that the network was trained with") {
		t.Errorf("on others of the same classes: status %d, %q", status, stderr)
	}
}

// newest is the newest checkpoint of a directory.
func newest(t *testing.T, dir string) *checkpoint.State {
	t.Helper()
	path, err := checkpoint.Find(dir, checkpoint.WhichNewest, nil)
	if err != nil {
		t.Fatal(err)
	}
	state, err := checkpoint.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// change writes a changed copy of the newest checkpoint of dir.
func change(t *testing.T, dir string, f func(*checkpoint.State)) string {
	t.Helper()
	state := newest(t, dir)
	f(state)
	file, err := os.Create(filepath.Join(t.TempDir(), "changed.ckpt"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := checkpoint.Encode(file, state); err != nil {
		t.Fatal(err)
	}
	return file.Name()
}

// diverged checks that a network without a finite loss can be reported too.
func diverged(t *testing.T, dir, data string) {
	t.Helper()
	path := change(t, dir, func(s *checkpoint.State) {
		for i := range s.Parameters {
			s.Parameters[i] = float32(math.NaN())
		}
	})
	status, stdout, stderr := muster(t.Context(), "evaluate", "--checkpoint", path, "--data", data, "--json")
	if status != settings.StatusDone || !strings.Contains(stdout, `"loss":"NaN"`) {
		t.Errorf("of a diverged network: status %d, %q, %q", status, stdout, stderr)
	}
}

// otherLayout checks that a checkpoint of another network than it says is wrong use.
func otherLayout(t *testing.T, dir, data string) {
	t.Helper()
	path := change(t, dir, func(s *checkpoint.State) { s.Job = []byte(strings.Replace(string(s.Job), "lenet5", "simple-cnn", 1)) })
	status, _, stderr := muster(t.Context(), "evaluate", "--checkpoint", path, "--data", data)
	if status != settings.StatusUsage || !oneLine(stderr) || !strings.Contains(stderr, "layout") {
		t.Errorf("of another layout: status %d, %q", status, stderr)
	}
}

func TestTrainingGoesOnWhereItWasStopped(t *testing.T) {
	data, dir := images(t, 0), filepath.Join(folder(t), "job")
	var whole, first, second, third trained
	prints(t, &whole, append(job(filepath.Join(folder(t), "job"), data), "--json")...)

	ctx, cancel := context.WithCancel(t.Context())
	cancel() // stopped before it began
	if status, _, stderr := muster(ctx, job(dir, data)...); status == settings.StatusDone || status == settings.StatusUsage {
		t.Errorf("stopped, it ended with status %d: %s", status, stderr)
	}
	prints(t, &first, append(job(dir, data), "--json", "--epochs", "1")...)
	prints(t, &second, append(job(dir, data), "--json")...)
	if first.Step != 3 || second.Step != 6 || second.Hash != whole.Hash {
		t.Errorf("in two goes step %d, %.12s; in one step %d, %.12s", second.Step, second.Hash, whole.Step, whole.Hash)
	}

	// Given once more it has nothing to do, and says so.
	status, stdout, _ := muster(t.Context(), job(dir, data)...)
	if status != settings.StatusDone || !strings.Contains(stdout, `job "default" was already done`) || !strings.Contains(stdout, "parameters sha256:"+whole.Hash+"\n") {
		t.Errorf("a job that is done: status %d\n%s", status, stdout)
	}
	// Begun anew it comes to the same.
	prints(t, &third, append(job(dir, data), "--json", "--resume", "none")...)
	if third.Hash != whole.Hash {
		t.Errorf("begun anew it came to %.12s, want %.12s", third.Hash, whole.Hash)
	}
	if status, _, stderr := muster(t.Context(), append(job(dir, data), "--seed", "2")...); status != settings.StatusUsage || !oneLine(stderr) {
		t.Errorf("another job in the same directory: status %d, %q", status, stderr)
	}
}

// TestOtherDataAreWrongUse goes on with other images than a job began with.
func TestOtherDataAreWrongUse(t *testing.T) {
	dir := filepath.Join(folder(t), "job")
	var run trained
	prints(t, &run, append(job(dir, images(t, 0)), "--json", "--epochs", "1")...)
	status, _, stderr := muster(t.Context(), job(dir, images(t, 1))...)
	if status != settings.StatusUsage || !oneLine(stderr) || !strings.Contains(stderr, "the worker's data") {
		t.Errorf("status %d, %q; want %d and one sentence about the data", status, stderr, settings.StatusUsage)
	}
}

func TestTrainSummary(t *testing.T) {
	data, dir := images(t, 0), filepath.Join(folder(t), "job")
	status, stdout, stderr := muster(t.Context(), append(job(dir, data), "--epochs", "1")...)
	if status != settings.StatusDone {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, want := range []string{"lenet5 on CIFAR-10", "3, 18 images", "1 evaluated", "test accuracy", "images/s", "compute", filepath.Join(dir, "step-0000000003.ckpt"), "parameters sha256:"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("the summary lacks %q:\n%s", want, stdout)
		}
	}
}

func TestFlagsOfTrainAreCheckedBeforeDataAreRead(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--network lenet6", "did you mean lenet5?"},
		{"--shards 0", "shards 0"},
		{"--workers 9", "--workers 9: 1 to the number of shards, 8, are allowed"},
		{"--workers 0", "--workers 0"},
		{"", "nowhere"}, // at last
	} {
		args := append([]string{"train", "--data", "nowhere", "--checkpoint-dir", filepath.Join(t.TempDir(), "job")}, strings.Fields(tc.args)...)
		if status, _, stderr := muster(t.Context(), args...); status != settings.StatusUsage || !oneLine(stderr) || !strings.Contains(stderr, tc.want) {
			t.Errorf("train %s: status %d, %q; want %q", tc.args, status, stderr, tc.want)
		}
	}
}

func TestAJobWhoseWorkersEndGoesOnWithEnough(t *testing.T) {
	for _, tc := range []struct {
		left, of, needed int
		want             string
	}{
		{3, 4, 1, ""},
		{3, 4, 3, ""},
		{2, 4, 3, "2 of 4 workers are left, and --min-workers is 3"},
		{0, 4, 1, "all workers have ended"},
	} {
		if err := tooFew(tc.left, tc.of, tc.needed); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%d of %d left, %d needed: %v, want %q", tc.left, tc.of, tc.needed, err, tc.want)
		}
	}
}

func TestWorkersInheritNoFlags(t *testing.T) {
	for name, kept := range map[string]bool{
		"MUSTER_BATCH": false, "MUSTER_SHARD": false, "MUSTER_CONFIG": false, "MUSTER_DATA": true, kernel.Variable: true, "ELSE": true,
	} {
		t.Setenv(name, "x")
		if got := slices.Contains(workerEnvironment(), name+"=x"); got != kept {
			t.Errorf("%s reaches workers: %v, want %v", name, got, kept)
		}
	}
}

func TestWorkersReadTheVeryImages(t *testing.T) {
	dir := images(t, 0)
	set, err := dataset.Open(t.Context(), dir, dataset.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	again, err := dataset.Open(t.Context(), sourceOf(set), dataset.OpenOptions{})
	if err != nil || again.Fingerprint() != set.Fingerprint() {
		t.Errorf("by %q a worker reads other images: %v", sourceOf(set), err)
	}
	if got := sourceOf(&dataset.Set{Synthetic: true, Source: "built in"}); got != "synthetic" {
		t.Errorf("synthetic images are called %q", got)
	}
}

func TestWarningsPassAlone(t *testing.T) {
	var out strings.Builder
	log := slog.New(warnings{slog.NewTextHandler(&out, nil)}).With("worker", 1).WithGroup("g")
	log.Info("quiet")
	log.Warn("loud")
	log.Error("louder")
	if s := out.String(); strings.Contains(s, "quiet") || !strings.Contains(s, "loud") || !strings.Contains(s, "louder") || !strings.Contains(s, "worker=1") {
		t.Errorf("what passed is %q", s)
	}
	if slog.New(warnings{slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelError})}).Enabled(t.Context(), slog.LevelWarn) {
		t.Error("a warning passes where the user wants errors alone")
	}
}
