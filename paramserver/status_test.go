package paramserver

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/muster-train/muster/model/topology"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func TestStatusTellsHowTheJobStands(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	if got := look(t, r.Server); got.Phase != "waiting" || got.TotalSteps != 0 || len(got.Workers) != 0 || got.Last != nil || len(got.UnownedShards) != 2 {
		t.Errorf("before any worker: %v", got)
	}
	p := pinnedPuppet(t, r.Server, "w", 1)
	q := newPuppet(t, r.Server, "x")
	w := next(t, p)
	next(t, q)
	got := look(t, r.Server)
	if got.Phase != "training" || got.TotalSteps != 3 || got.Batches != 3 || len(got.UnownedShards) != 0 {
		t.Errorf("in the first step: %v", got)
	}
	p.obey(w)
	q.obey(w)
	w = next(t, p)
	next(t, q)
	got = look(t, r.Server)
	bytes := uint64(4 * r.network.Layout.Size())
	if got.Step != 1 || got.Samples != 2 || got.Loss != 1 || got.Accuracy != 1 || got.Split.Images != 2 || got.Batch != 1 {
		t.Errorf("after the first step: %v", got)
	}
	if got.GradientBytes != 2*bytes || got.ParameterBytes != 4*bytes {
		t.Errorf("%d bytes of gradients and %d of parameters, want %d and %d: two workers, one step up and two down", got.GradientBytes, got.ParameterBytes, 2*bytes, 4*bytes)
	}
	if len(got.Workers) != 2 {
		t.Fatalf("workers %v, want two", got.Workers)
	}
	for _, worker := range got.Workers {
		shard, pinned := uint32(0), worker.Worker == "w"
		if pinned {
			shard = 1
		}
		if !slices.Equal(worker.Shards, []uint32{shard}) || !worker.Connected || worker.Images != 1 || (worker.Pinned != nil) != pinned {
			t.Errorf("worker %v, want connected, with shard %d, one image", worker, shard)
		}
	}
	p.stream.Close() // shard 1 has no worker now
	first := look(t, r.Server)
	second := look(t, r.Server)
	if first.Phase != "waiting" || first.ImagesPerSecond != 0 || first.RemainingSeconds != 0 || !(second.Split.WaitSeconds > first.Split.WaitSeconds) {
		t.Errorf("while a worker is lost: %v, then %v; want waiting, longer and longer, and no speed", first, second)
	}
	p = pinnedPuppet(t, r.Server, "w", 1)
	p.obey(next(t, p))
	q.obey(w)
	go p.toil()
	q.toil()
	if _, err := r.wait(t); err != nil {
		t.Fatal(err)
	}
}

func TestAResumedEpochIsReportedAsAWhole(t *testing.T) {
	cfg := testConfig(t)
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	p.obey(next(t, p))
	next(t, p)
	r.cancel()
	if _, err := r.wait(t); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	r = run(t, newServer(t, cfg))
	newPuppet(t, r.Server, "w").toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if r.meter.epoch.Images != 0 || float64(result.Epochs[0].TrainLoss) != 1 {
		t.Errorf("training loss %v over the epoch, want 1", result.Epochs[0].TrainLoss)
	}
	if r.meter.split.Images != 3 {
		t.Errorf("this process trained on %d images, want 3", r.meter.split.Images)
	}
}

func TestTheTopologyIsThereBeforeTheFirstStep(t *testing.T) {
	cfg := testConfig(t)
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	next(t, p)
	for _, name := range []string{topology.FileProto, topology.FileJSON} {
		got, err := topology.Read(filepath.Join(cfg.CheckpointDir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got.Network != "lenet5" || got.Layout != r.network.Layout.Fingerprint() || !slices.Equal(got.Classes, testData.ClassNames) {
			t.Errorf("%s holds network %s, classes %v", name, got.Network, got.Classes)
		}
	}
	r.cancel()
}

func TestATopologyThatCannotBeWrittenEndsTheJobBeforeItBegins(t *testing.T) {
	cfg := testConfig(t)
	if err := os.MkdirAll(filepath.Join(cfg.CheckpointDir, topology.FileProto, "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := run(t, newServer(t, cfg))
	newPuppet(t, r.Server, "w").toil()
	if result, err := r.wait(t); err == nil || result.Step != 0 {
		t.Errorf("ended at step %d with %v, want an error before the first", result.Step, err)
	}
	if r.phase != "failed" {
		t.Errorf("phase %q, want failed", r.phase)
	}
}

func TestAServerThatLingersAnswersUntilItIsStopped(t *testing.T) {
	for name, end := range map[string]func(*running){
		"signal": func(r *running) { r.cancel() },
		"stop": func(r *running) {
			if _, err := r.Stop(t.Context(), "enough"); err != nil {
				t.Error(err)
			}
		},
	} {
		cfg := testConfig(t)
		cfg.Linger = true
		told := make(chan Result, 1)
		cfg.Done = func(r Result) { told <- r }
		r := run(t, newServer(t, cfg))
		newPuppet(t, r.Server, "w").toil()
		done := <-told
		if got := look(t, r.Server); got.Phase != "done" || got.Step != 3 || len(got.UnownedShards) != 0 {
			t.Errorf("%s: status %v, want done at step 3 and no shard waited for", name, got)
		}
		late := newPuppet(t, r.Server, "late")
		if w := late.work(); w != nil || !late.done.GetSuccess() || late.done.ParametersSha256 != done.Hash {
			t.Errorf("%s: the late worker heard %v, %v; want success with hash %s", name, w, late.done, done.Hash)
		}
		// Its workers are gone, and their leases with them, which calls for nobody.
		if err := r.do(t.Context(), func() { r.members = nil; r.membersChanged() }); err != nil {
			t.Error(err)
		}
		if got := look(t, r.Server); len(got.UnownedShards) != 0 || r.warned != "" {
			t.Errorf("%s: after its end the job waits for shards %v (said: %q)", name, got.UnownedShards, r.warned)
		}
		select {
		case <-r.ended:
			t.Errorf("%s: the server has ended by itself", name)
		default:
		}
		end(r)
		result, err := r.wait(t)
		check(t, result, err, testJob(), 3)
		if len(told) != 0 {
			t.Errorf("%s: told twice that the job is done", name)
		}
	}
}

// TestRefusalsAreCountedByProcessAndKeptByJob: what a process tells begins anew
// with it, what its checkpoints keep does not.
func TestRefusalsAreCountedByProcessAndKeptByJob(t *testing.T) {
	cfg := testConfig(t)
	first := run(t, newServer(t, cfg))
	p := newPuppet(t, first.Server, "w")
	w := next(t, p)
	p.tallies(w, 0, 1)
	p.pushValue(0, node(0, 1), 0, float32(math.NaN()))
	p.work() // the refusal
	p.obey(w)
	next(t, p)
	if got := look(t, first.Server).RefusedNotFinite; got == 0 {
		t.Fatal("nothing was refused")
	}
	first.cancel()
	result, _ := first.wait(t)
	kept := func(path string) uint64 {
		t.Helper()
		state, err := checkpoint.Read(path)
		if err != nil {
			t.Fatal(err)
		}
		return state.NotFinite
	}
	before := kept(result.Checkpoint)

	second := run(t, newServer(t, cfg))
	if got := look(t, second.Server); got.ResumedStep != 1 || got.RefusedNotFinite != 0 {
		t.Errorf("after a restart at step %d %d are told, want step 1 and none", got.ResumedStep, got.RefusedNotFinite)
	}
	newPuppet(t, second.Server, "w").toil()
	result, err := second.wait(t)
	if got := kept(result.Checkpoint); err != nil || before == 0 || got != before {
		t.Errorf("%v; the last checkpoint keeps %d, the first %d", err, got, before)
	}
}

// TestASilentWorkersTimeIsWaiting: its connection is found broken ten seconds
// after it has last been heard, which no network has taken.
func TestASilentWorkersTimeIsWaiting(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	p := newPuppet(t, r.Server, "w")
	next(t, p)
	if err := r.do(t.Context(), func() {
		r.meter.opened = time.Now().Add(-time.Minute)
		r.sessions["w"].last.Store(time.Now().Add(-10 * time.Second).UnixNano())
	}); err != nil {
		t.Fatal(err)
	}
	p.stream.Close()
	if got := look(t, r.Server).Split.WaitSeconds; got < 10 || got > 59 {
		t.Errorf("%v s waited, want the 10 of silence and little more", got)
	}
	r.cancel()
}

func TestDataOfOtherNamesAreTheSameData(t *testing.T) {
	cfg := testConfig(t)
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	next(t, p)
	req := joinRequest(r.Server, "x")
	req.Data = &musterv1.DataInfo{Fingerprint: "f00d", TrainImages: 5, TestImages: 4, Classes: 10}
	if _, err := r.Local().Join(t.Context(), req); err != nil {
		t.Errorf("a worker that doesn't name its classes is refused: %v", err)
	}
	req.Data.ClassNames = []string{"one"}
	if _, err := r.Local().Join(t.Context(), req); err == nil {
		t.Error("a worker that names one of ten classes is not refused")
	}
	r.cancel()
}
