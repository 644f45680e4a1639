package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-train/muster/paramserver/checkpoint"
)

// outcome is what a server says of its job at the end.
type outcome struct {
	Hash    string                  `json:"parameters_sha256"`
	Samples int                     `json:"samples"`
	Epochs  []checkpoint.EpochScore `json:"epochs"`
	Mean    *float64                `json:"staleness_mean"`
	Ahead   int                     `json:"steps_ahead"`
}

// relaxedJob is one whose images can be learnt, in so few steps that it takes a
// moment. It has four shards.
type relaxedJob struct {
	t    *testing.T
	dir  string
	more []string
}

const relaxedSteps, relaxedEpochs, relaxedBatch = 60, 4, 64

func newRelaxedJob(t *testing.T, more ...string) *relaxedJob {
	return &relaxedJob{t, t.TempDir(), more}
}

func (j *relaxedJob) address() string { return "unix://" + filepath.Join(j.dir, "s") }

func (j *relaxedJob) server() *process {
	j.t.Helper()
	return start(j.t, "paramserver", append([]string{
		"--network", "lenet5", "--shards", "4", "--batch", fmt.Sprint(relaxedBatch), "--limit-batches", fmt.Sprint(relaxedSteps),
		"--epochs", fmt.Sprint(relaxedEpochs), "--lr", "0.02", "--momentum", "0.5", "--checkpoint-dir", j.dir, "--listen", j.address(), "--json",
	}, j.more...)...)
}

func (j *relaxedJob) worker(more ...string) *process {
	j.t.Helper()
	return start(j.t, "worker", append([]string{"--server", j.address(), "--data", "synthetic", "--threads", "1"}, more...)...)
}

// end waits for the end of the job, and checks that every image counted once.
func (j *relaxedJob) end(server *process) (r outcome) {
	j.t.Helper()
	if s := server.status(); s != 0 {
		j.t.Fatalf("the server ended with status %d", s)
	}
	if err := json.Unmarshal(server.out.Bytes(), &r); err != nil || len(r.Epochs) != relaxedEpochs {
		j.t.Fatalf("%v: %s", err, &server.out)
	}
	if want := relaxedSteps * relaxedEpochs * relaxedBatch; r.Samples != want {
		j.t.Errorf("%d samples, want %d", r.Samples, want)
	}
	return r
}

func (r outcome) loss() float64 { return float64(r.Epochs[relaxedEpochs-1].TestLoss) }

// fourPinned trains with four workers that each have a shard: none does another's work.
func fourPinned(t *testing.T, more ...string) outcome {
	t.Helper()
	j := newRelaxedJob(t, more...)
	server := j.server()
	var all []*process
	for i := range 4 {
		all = append(all, j.worker("--shard", fmt.Sprintf("%d/4", i)))
	}
	r := j.end(server)
	ended(t, all)
	return r
}

// Where gradients are applied one by one, the rate need not be divided by the number
// of workers: the same one learns what it learns in a synchronous job. Momentum is
// low, since a high one makes steps so long that what is late leads astray.
func TestRelaxedJobsLearn(t *testing.T) {
	if testing.Short() {
		t.Skip("TestRelaxedJobsLearn starts processes")
	}
	sync := fourPinned(t)
	if sync.loss() > 0.8*float64(sync.Epochs[0].TestLoss) {
		t.Errorf("synchronously the loss went from %v to %v: the case does not tell", sync.Epochs[0].TestLoss, sync.loss())
	}
	if sync.Mean != nil {
		t.Errorf("a synchronous job has a staleness of %v", *sync.Mean)
	}
	for _, args := range [][]string{{"--sync", "ssp:2"}, {"--sync", "async"}, {"--sync", "async", "--encoding", "int8"}} {
		r := fourPinned(t, args...)
		name := strings.Join(args, " ")
		if r.Mean == nil {
			t.Fatalf("%s: no staleness is told", name)
		}
		t.Logf("%s: loss %.3f, synchronous %.3f; staleness %.2f in the mean, %d steps ahead", name, r.loss(), sync.loss(), *r.Mean, r.Ahead)
		if math.Abs(r.loss()/sync.loss()-1) > 0.15 {
			t.Errorf("%s: the loss ends at %v, synchronously at %v", name, r.loss(), sync.loss())
		}
		if args[1] == "ssp:2" && r.Ahead > 2 {
			t.Errorf("a worker was %d steps ahead, 2 are allowed", r.Ahead)
		}
	}
}

func TestOneRelaxedWorkerGivesTheBitsOfASynchronousJob(t *testing.T) {
	if testing.Short() {
		t.Skip("TestOneRelaxedWorkerGivesTheBitsOfASynchronousJob starts processes")
	}
	want := train(t)
	for _, sync := range []string{"ssp:1", "async"} {
		if got := train(t, "--sync", sync); got != want {
			t.Errorf("--sync %s: parameters sha256:%s, want %s", sync, got, want)
		}
	}
}

func TestARelaxedJobOutlivesAWorker(t *testing.T) {
	if testing.Short() {
		t.Skip("TestARelaxedJobOutlivesAWorker starts processes")
	}
	for _, sync := range []string{"ssp:2", "async"} {
		j := newRelaxedJob(t, "--sync", sync)
		server := j.server()
		a, b := j.worker(), j.worker()
		reach(t, api(t, j.address()), 10)
		a.kill()
		c := j.worker()
		j.end(server)
		ended(t, []*process{b, c})
	}
}

func TestARelaxedJobGoesOnAfterAStop(t *testing.T) {
	if testing.Short() {
		t.Skip("TestARelaxedJobGoesOnAfterAStop starts processes")
	}
	for _, sync := range []string{"ssp:2", "async"} {
		// Both are there for every step: a worker that comes back after the end waits for ever.
		j := newRelaxedJob(t, "--sync", sync, "--checkpoint-every", "7steps", "--min-workers", "2")
		first := j.server()
		workers := []*process{j.worker(), j.worker()}
		reach(t, api(t, j.address()), 20)
		if err := first.cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if s := first.status(); s != 3 || !strings.Contains(first.stderr(), "goes on from it") {
			t.Errorf("the stopped server ended with status %d, want 3 and how to go on", s)
		}
		again := j.server()
		j.end(again)
		ended(t, workers)
		if !strings.Contains(again.stderr(), "resumed") {
			t.Error("the second server began anew")
		}
	}
}

// A server that is killed loses what it had not saved, and no more.
func TestARelaxedJobOutlivesItsServer(t *testing.T) {
	if testing.Short() {
		t.Skip("TestARelaxedJobOutlivesItsServer starts processes")
	}
	j := newRelaxedJob(t, "--sync", "async", "--checkpoint-every", "5steps", "--min-workers", "2")
	first := j.server()
	workers := []*process{j.worker(), j.worker()}
	server := api(t, j.address())
	for step := uint64(1); reach(t, server, step).Checkpoint == ""; step++ {
	}
	first.kill()
	again := j.server()
	j.end(again)
	ended(t, workers)
	if !strings.Contains(again.stderr(), "resumed") {
		t.Error("the second server began anew")
	}
}
