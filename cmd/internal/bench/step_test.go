package bench

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
)

func lenet(t *testing.T) *model.Network {
	t.Helper()
	n, err := model.New("lenet5", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStepsAreMeasured(t *testing.T) {
	for _, threads := range []int{1, 3} {
		cfg := StepConfig{Network: lenet(t), Threads: threads, Batch: 16, Shards: 4, Warm: 1, Steps: 4, Layers: true}
		start := time.Now()
		s, err := MeasureStep(t.Context(), cfg)
		took := time.Since(start)
		if err != nil {
			t.Fatal(err)
		}
		if s.Steps != 4 || s.Kernel != kernel.Name() {
			t.Errorf("%d steps by the kernels %s, want 4 by %s", s.Steps, s.Kernel, kernel.Name())
		}
		if s.Time <= 0 || 2*s.Time > took || s.Update <= 0 || s.Update >= s.Time {
			t.Errorf("a step took %v, its update %v, all %v", s.Time, s.Update, took)
		}
		if s.AllocatedBytes != 0 {
			t.Errorf("a step allocates %d bytes", s.AllocatedBytes)
		}
		if s.PeakRate <= 0 || s.PeakShare() <= 0 {
			t.Errorf("peak %v, share %v", s.PeakRate, s.PeakShare())
		}
		var sum time.Duration
		for _, row := range s.Layers {
			sum += row.Total()
		}
		if len(s.Layers) != len(cfg.Network.Layers)+2 || sum <= 0 {
			t.Errorf("%d rows of layers that add up to %v, want %d", len(s.Layers), sum, len(cfg.Network.Layers)+2)
		}
	}
}

// The rate is of useful operations: 126 MFLOP an image for alexnet, and not 164.
func TestRateCountsUsefulOperations(t *testing.T) {
	n, err := model.New("alexnet", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := Step{Config: StepConfig{Network: n, Batch: 128}, Time: 128 * time.Millisecond, PeakRate: 252e9}
	if got := s.ImagesPerSecond(); math.Abs(got-1000) > 1e-9 {
		t.Errorf("%v images/s, want 1000", got)
	}
	if got := s.Rate() / 1e9; math.Abs(got-126) > 0.5 {
		t.Errorf("%v GFLOP/s, want about 126", got)
	}
	if got := s.PeakShare(); math.Abs(got-0.5) > 0.002 {
		t.Errorf("share %v, want about a half", got)
	}
}

func TestTimeBoundsTheSteps(t *testing.T) {
	cfg := StepConfig{Network: lenet(t), Threads: 1, Batch: 16, Shards: 1}
	cfg.Time = time.Nanosecond
	s, err := MeasureStep(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if s.Steps != minSteps || s.Layers != nil {
		t.Errorf("%d steps in no time, want %d; layers %v, want none", s.Steps, minSteps, s.Layers)
	}
	cfg.Time = 10 * burst // for one burst a step at most ten
	if s, err = MeasureStep(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if s.Steps < minSteps || s.Steps > 40 {
		t.Errorf("%d steps in %v, with a burst of about %v before each", s.Steps, cfg.Time, burst)
	}
}

func TestMeasuringEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, warm := range []int{0, 2} {
		_, err := MeasureStep(ctx, StepConfig{Network: lenet(t), Threads: 1, Batch: 16, Shards: 1, Warm: warm, Steps: 2})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("warm %d: %v, want that it was cancelled", warm, err)
		}
	}
}

// What is measured is training: parameters move as one update after the other by
// the network's rule moves them, on any number of threads.
func TestStepTrains(t *testing.T) {
	for _, threads := range []int{1, 2, 3} {
		for _, name := range []string{"lenet5", "alexnet-cifar"} { // plain momentum, Nesterov's
			n, err := model.New(name, model.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if name == "alexnet-cifar" && testing.Short() {
				continue
			}
			tr, err := newTrainer(StepConfig{Network: n, Threads: threads, Batch: 4, Shards: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.close()
			want := slices.Clone(tr.plan.Parameters())
			velocity := make([]float32, len(want))
			for range 2 {
				if err := tr.step(); err != nil {
					t.Fatal(err)
				}
				tr.rule.Apply(want, velocity, want, velocity, tr.plan.Sum(0), 0.25, rate, false)
			}
			if got := params.Hash(tr.plan.Parameters()); got != params.Hash(want) {
				t.Errorf("%s, %d threads: parameters after two steps are %s, want %s", name, threads, got, params.Hash(want))
			}
			if tr.batch.Step != 2 {
				t.Errorf("step %d after two: dropout would repeat", tr.batch.Step)
			}
			if tr.rule.Nesterov != n.Recipe.Nesterov || tr.rule.Momentum != n.Recipe.Momentum || tr.rule.WeightDecay != n.Recipe.WeightDecay {
				t.Errorf("rule %+v, want that of the recipe %+v", tr.rule, n.Recipe)
			}
		}
	}
}

func TestStepsTakeTheirPrecision(t *testing.T) {
	n, err := model.New("lenet5", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	after := map[device.Precision]string{}
	for _, precision := range []device.Precision{device.F32, device.BF16} {
		tr, err := newTrainer(StepConfig{Network: n, Threads: 1, Batch: 4, Shards: 2, Precision: precision})
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.step(); err != nil {
			t.Fatal(err)
		}
		after[precision] = params.Hash(tr.plan.Parameters())
		tr.close()
	}
	if after[device.F32] == after[device.BF16] {
		t.Error("a step with bf16 leaves the bits of one with f32")
	}
}

func TestBatchIsSharedByAllShards(t *testing.T) {
	b := madeUp(StepConfig{Network: lenet(t), Batch: 24, Shards: 8})
	images := 0
	for i, s := range b.Shards {
		if s.Shard != i || s.Images != 3 {
			t.Errorf("shard %d is %+v, want 3 images of shard %d", i, s, i)
		}
		images += s.Images
	}
	if images != 24 || len(b.Shards) != 8 || len(b.Labels) != 24 || len(b.Index) != 24 || len(b.Images) != 24*3*32*32 {
		t.Errorf("%d images of %d shards, %d labels, %d numbers, %d values", images, len(b.Shards), len(b.Labels), len(b.Index), len(b.Images))
	}
	if len(b.Nodes) != 1 || b.Nodes[0] != params.Root(8) {
		t.Errorf("nodes %v, want the root: the gradients of all shards are summed", b.Nodes)
	}
	if lo, hi := slices.Min(b.Images), slices.Max(b.Images); lo < 0 || hi > 1 || hi-lo < 0.9 {
		t.Errorf("values from %v to %v, want nearly 0 to nearly 1", lo, hi)
	}
	again := madeUp(StepConfig{Network: lenet(t), Batch: 24, Shards: 8})
	if !slices.Equal(b.Images, again.Images) || !slices.Equal(b.Labels, again.Labels) {
		t.Error("another batch the second time")
	}
}

func TestTooManyThreadsAreRefused(t *testing.T) {
	if _, err := MeasureStep(t.Context(), StepConfig{Network: lenet(t), Threads: -1, Batch: 16, Shards: 1, Steps: 1}); err == nil {
		t.Error("-1 threads measured")
	}
	if d, err := cpu.New(MaxThreads); err != nil {
		t.Errorf("MaxThreads is more than a device takes: %v", err)
	} else {
		d.Close()
	}
}

// fakePlan tells made-up times.
type fakePlan struct {
	device.Plan
	on    bool
	takes []int // milliseconds of each step
}

func (p *fakePlan) Profile(on bool) { p.on = on }
func (p *fakePlan) Times(times []cpu.LayerTime) []cpu.LayerTime {
	d := time.Duration(0)
	if len(p.takes) > 0 && cap(times) > 0 {
		d, p.takes = time.Duration(p.takes[0])*time.Millisecond, p.takes[1:]
	}
	return append(times, cpu.LayerTime{Layer: "a", Forward: d}, cpu.LayerTime{Layer: "b", Backward: 2 * d, Weights: 3 * d})
}

func TestLapsAreMediansByLayer(t *testing.T) {
	p := &fakePlan{takes: []int{5, 1, 100}}
	l := newLaps(p, 3)
	if !p.on {
		t.Error("the plan was not asked for its times")
	}
	for range 3 {
		l.take()
	}
	const ms = time.Millisecond
	want := []cpu.LayerTime{{Layer: "a", Forward: 5 * ms}, {Layer: "b", Backward: 10 * ms, Weights: 15 * ms}}
	if got := l.medians(); !slices.Equal(got, want) {
		t.Errorf("medians %v, want %v", got, want)
	}
	var none *laps
	if none.take(); none.medians() != nil {
		t.Error("laps that keep none have medians")
	}
}
