package paramserver

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

const (
	kindGradient = musterv1.WorkKind_WORK_KIND_GRADIENT
	kindEvaluate = musterv1.WorkKind_WORK_KIND_EVALUATE
)

func TestOneWorkerTrainsTheJob(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	p := newPuppet(t, r.Server, "w")
	p.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if result.Samples != 5 {
		t.Errorf("%d samples, want 5: all images of an uneven epoch", result.Samples)
	}
	if len(result.Epochs) != 1 || result.Epochs[0].Top1 != 1 || result.Epochs[0].TestLoss != 1 {
		t.Errorf("epochs %+v, want one with all test images right", result.Epochs)
	}
	if p.done == nil || !p.done.Success || p.done.ParametersSha256 != result.Hash {
		t.Errorf("the worker was told %v, want success with hash %s", p.done, result.Hash)
	}
}

func TestTwoWorkersGiveTheSameBits(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	a, b := newPuppet(t, r.Server, "a"), newPuppet(t, r.Server, "b")
	go a.toil()
	b.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

// next follows p to the next gradient work.
func next(t *testing.T, p *puppet) *musterv1.Work {
	t.Helper()
	w := p.work()
	if w == nil || w.Kind != kindGradient {
		t.Fatalf("%s was asked for %v, want gradients", p.id, w)
	}
	return w
}

func TestContributionsThatDoNotCount(t *testing.T) {
	r := run(t, newServer(t, testConfig(t)))
	p := newPuppet(t, r.Server, "w")
	w := next(t, p)
	p.tallies(w, 0, 1)
	p.push(0, node(0, 1), 0)

	p.pushValue(0, node(0, 1), 0, 100) // the same name again
	p.tallies(w, 0)
	if got := look(t, r.Server).RepeatedContributions; got != 2 {
		t.Errorf("%d repeats counted, want 2", got)
	}

	flip := wire.NewGradientChunk(0, 1, 2, 0, make([]float32, p.layout.Chunk(0).Len()))
	flip.Checksum++
	short := wire.NewGradientChunk(0, 1, 2, 0, make([]float32, 10))
	for i, bad := range []struct {
		send func()
		want musterv1.RefusalReason
	}{
		{func() { p.pushValue(7, node(1, 2), 0, 100) }, musterv1.RefusalReason_REFUSAL_REASON_FUTURE},
		{func() { p.pushValue(0, node(1, 3), 0, 100) }, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED},
		{func() {
			p.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: flip}})
		}, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED},
		{func() {
			p.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: short}})
		}, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED},
		{func() {
			g := wire.NewGradientChunk(0, 1, 2, 0, make([]float32, 10))
			g.Chunk = 99
			p.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: g}})
		}, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED},
		{func() {
			p.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: &musterv1.Tallies{
				Step: 0, Kind: kindGradient, Tallies: []*musterv1.Tally{{Shard: 9, Images: 1}},
			}}})
		}, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED},
	} {
		bad.send()
		p.work()
		if len(p.refused) != i+1 || p.refused[i].Reason != bad.want {
			t.Fatalf("case %d: refusals %v, want one more for %v", i, p.refused, bad.want)
		}
	}

	p.push(0, node(1, 2), 0)
	p.obey(next(t, p))
	p.pushValue(0, node(0, 2), 0, 100) // stale by now
	p.toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if got := r.counts.malformed; got != 6 {
		t.Errorf("%d malformed contributions counted, want 6", got)
	}
}

func TestAHalfSentContributionIsCompletedByAnother(t *testing.T) {
	cfg := testConfig(t)
	cfg.Job.Network = "alexnet-cifar" // of many chunks
	r := run(t, newServer(t, cfg))
	a := newPuppet(t, r.Server, "a")
	w := next(t, a)
	a.tallies(w, 0, 1)
	for c := range a.layout.Chunks() / 2 {
		a.push(0, node(0, 2), c)
	}
	b := newPuppet(t, r.Server, "b")
	a.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Leave{Leave: &musterv1.Leave{}}})
	a.stream.Close()
	b.toil()
	result, err := r.wait(t)
	check(t, result, err, cfg.Job, 3)
}

func TestValuesThatAreNotFiniteEndTheJob(t *testing.T) {
	cfg := testConfig(t)
	cfg.CheckpointSteps = 1
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	p.obey(next(t, p))
	w := next(t, p)
	p.tallies(w, 0, 1)
	p.pushValue(1, node(0, 1), 0, float32(math.NaN()))
	p.work()
	if len(p.refused) != 1 || p.refused[0].Reason != musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE {
		t.Fatalf("refusals %v, want one for values that are not finite", p.refused)
	}
	if got := look(t, r.Server).RefusedNotFinite; got != 1 {
		t.Errorf("%d refusals counted, want 1", got)
	}
	p.pushValue(1, node(0, 1), 0, float32(math.Inf(1)))
	p.pushValue(1, node(0, 1), 0, float32(math.NaN()))
	p.toil()
	result, err := r.wait(t)
	if !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), "shard 0 at step 1") || !strings.Contains(err.Error(), "step-0000000001.ckpt") {
		t.Errorf("the job ended with %v, want ErrNotFinite naming shard, step and the checkpoint of step 1", err)
	}
	if result.Hash != expected(t, cfg.Job, 1) {
		t.Error("the parameters were touched by values that are not finite")
	}
	if p.done == nil || p.done.Success {
		t.Errorf("the worker was told %v, want failure", p.done)
	}
}

func TestALossThatIsNotFiniteIsRefused(t *testing.T) {
	cfg := testConfig(t)
	cfg.NotFinite = 1
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	next(t, p)
	p.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: &musterv1.Tallies{
		Kind: kindGradient, Tallies: []*musterv1.Tally{{Shard: 1, Images: 1, Loss: math.NaN()}},
	}}})
	if _, err := r.wait(t); !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), "none yet") {
		t.Errorf("the job ended with %v, want ErrNotFinite without a checkpoint", err)
	}
}

func TestAStoppedJobGoesOnWhereItWas(t *testing.T) {
	cfg := testConfig(t)
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	p.obey(next(t, p))
	w := next(t, p)
	p.push(w.Step, node(0, 1), 0) // half a step, which must leave no trace
	r.cancel()
	result, err := r.wait(t)
	if !errors.Is(err, ErrStopped) || result.Step != 1 || result.Checkpoint == "" {
		t.Fatalf("stopped with %+v, %v; want ErrStopped at step 1 with a checkpoint", result, err)
	}

	r = run(t, newServer(t, cfg))
	p = newPuppet(t, r.Server, "another")
	if w := next(t, p); w.Step != 1 {
		t.Fatalf("went on at step %d, want 1", w.Step)
	} else {
		p.obey(w)
	}
	p.toil()
	result, err = r.wait(t)
	check(t, result, err, testJob(), 3)

	// A job that is done stays done.
	r = run(t, newServer(t, cfg))
	result, err = r.wait(t)
	check(t, result, err, testJob(), 3)
	if !result.Already {
		t.Error("the result doesn't say that the job was done already")
	}
}

func TestResume(t *testing.T) {
	cfg := testConfig(t)
	r := run(t, newServer(t, cfg))
	newPuppet(t, r.Server, "w").toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)

	with := func(change func(*Config)) (*Server, error) {
		c := cfg
		c.Job = testJob()
		change(&c)
		return New(c, newRegistry(t, "test"))
	}
	for _, tc := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Job.Network = "simple-cnn" }, "layout"},
		{func(c *Config) { c.Job.Seed = 4 }, "seed is 4 here and 3 there"},
		{func(c *Config) { c.Job.Schedule, c.Job.Epochs = "cosine", 2 }, "schedule"},
		{func(c *Config) { c.Job.Batch = 4 }, "batch is 4 here and 2 there"},
		{func(c *Config) { c.Resume = filepath.Join(cfg.CheckpointDir, "nothing") }, "nothing"},
	} {
		if _, err := with(tc.change); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("New = %v, want an error that says %q", err, tc.want)
		}
	}

	// More epochs are allowed, but not where the rates so far would have been others.
	s, err := with(func(c *Config) { c.Job.Epochs = 2 })
	if err != nil {
		t.Fatal(err)
	}
	r = run(t, s)
	newPuppet(t, s, "w").toil()
	result, err = r.wait(t)
	check(t, result, err, testJob(), 6)

	s, err = with(func(c *Config) { c.Resume = "none" })
	if err != nil {
		t.Fatal(err)
	}
	if step, _ := s.store.At(); step != 0 {
		t.Errorf("began anew at step %d", step)
	}
	if kept, err := filepath.Glob(filepath.Join(cfg.CheckpointDir, "before-1", "*.ckpt")); err != nil || len(kept) == 0 {
		t.Errorf("earlier checkpoints are gone: %v, %v", kept, err)
	}
}

func TestADamagedCheckpointIsNamed(t *testing.T) {
	cfg := testConfig(t)
	cfg.CheckpointSteps = 1
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	p.obey(next(t, p))
	next(t, p)
	if _, err := r.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.cancel()
	r.wait(t)
	newest := filepath.Join(cfg.CheckpointDir, "step-0000000001.ckpt")
	data, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(newest, data, 0o644); err != nil {
		t.Fatal(err)
	}
	// Nothing older is there, and to begin anew would lose what the file may still hold.
	_, err = New(cfg, newRegistry(t, "test"))
	if !errors.Is(err, checkpoint.ErrCorrupt) || !strings.Contains(err.Error(), "step-0000000001") {
		t.Errorf("New = %v, want ErrCorrupt naming the file", err)
	}
}

func TestUpdatesThatAreNotFiniteAreNotApplied(t *testing.T) {
	cfg := testConfig(t)
	cfg.Job.LearningRate = 3e38
	cfg.CheckpointSteps = 1
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	w := next(t, p)
	p.tallies(w, 0, 1)
	p.pushValue(0, node(0, 2), 0, 1e30) // finite, but not what comes of it
	result, err := r.wait(t)
	if !errors.Is(err, ErrNotFinite) || !strings.Contains(err.Error(), "update of step 0") || result.Step != 0 {
		t.Errorf("ended at step %d with %v, want ErrNotFinite of the update of step 0", result.Step, err)
	}
	if saved, _ := filepath.Glob(filepath.Join(cfg.CheckpointDir, "*.ckpt")); len(saved) != 0 {
		t.Errorf("checkpoints %v hold what is not finite", saved)
	}
}

func TestAnInterruptedEvaluationIsMadeUpFor(t *testing.T) {
	cfg := testConfig(t)
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	for range 3 {
		p.obey(next(t, p))
	}
	if w := p.work(); w.Kind != kindEvaluate {
		t.Fatalf("asked for %v, want an evaluation", w)
	}
	r.cancel()
	if _, err := r.wait(t); !errors.Is(err, ErrStopped) {
		t.Fatal(err)
	}
	r = run(t, newServer(t, cfg))
	newPuppet(t, r.Server, "w").toil()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if len(result.Epochs) != 1 || result.Epochs[0].Epoch != 0 || result.Epochs[0].Rate != 0.5 || result.Epochs[0].TrainLoss != 1 {
		t.Errorf("epochs %+v, want epoch 0 at rate 0.5 with a training loss of 1", result.Epochs)
	}
	if result.Best == nil || result.Best.Step != 3 {
		t.Errorf("best %+v, want that of step 3", result.Best)
	}
}

func TestAStateThatCannotBeSavedIsNoCleanStop(t *testing.T) {
	cfg := testConfig(t)
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	p.obey(next(t, p))
	next(t, p)
	if err := os.RemoveAll(cfg.CheckpointDir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cfg.CheckpointDir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.cancel()
	if _, err := r.wait(t); err == nil || errors.Is(err, ErrStopped) || !strings.Contains(err.Error(), "not saved") {
		t.Errorf("Run = %v, want a fault that says that the state was not saved", err)
	}
}

func TestTimeIsUp(t *testing.T) {
	cfg := testConfig(t)
	cfg.Job.Epochs, cfg.MaxTime = 1000000, time.Nanosecond
	r := run(t, newServer(t, cfg))
	newPuppet(t, r.Server, "w").toil()
	result, err := r.wait(t)
	if err != nil || result.Step != 1 || len(result.Epochs) != 1 {
		t.Errorf("ended at step %d with %d evaluations and %v, want one step, evaluated", result.Step, len(result.Epochs), err)
	}
}

func TestRunEndsWithItsContextBeforeAnyWorkerCame(t *testing.T) {
	s := newServer(t, testConfig(t))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.Run(ctx); !errors.Is(err, ErrStopped) {
		t.Errorf("Run = %v, want ErrStopped", err)
	}
}
