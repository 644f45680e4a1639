package bench

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
)

// MaxThreads is the most threads that are measured.
const MaxThreads = 1024

// StepConfig says which step to measure, and how often.
type StepConfig struct {
	Network *model.Network
	Threads int // at least 1
	Batch   int // images of a step, a multiple of Shards
	Shards  int // of the one worker, at least 1

	Precision device.Precision // of the factors of products

	Warm   int           // steps before the measured ones
	Steps  int           // measured steps; 0: what Time has room for
	Time   time.Duration // of all that is measured, where Steps is 0
	Layers bool          // time by layer too
}

// minSteps and maxSteps bound the number of steps where a time is given.
const minSteps, maxSteps = 5, 10_000

// Step is what whole training steps came to: gradients of a batch, the update of
// all parameters, and telling the device.
type Step struct {
	Config         StepConfig
	Kernel         string
	Steps          int           // that were measured
	Time           time.Duration // of a step
	Update         time.Duration // of that, the update
	PeakRate       float64       // of all threads, in operations a second
	AllocatedBytes uint64        // by a step
	Layers         []cpu.LayerTime
}

// ImagesPerSecond is the rate of the median step.
func (s *Step) ImagesPerSecond() float64 { return float64(s.Config.Batch) / s.Time.Seconds() }

// Rate is the number of useful floating-point operations a second: of products,
// without taps that only ever meet padding and without the gradient of the images,
// however much is really computed.
func (s *Step) Rate() float64 {
	total := s.Config.Network.Total()
	return float64(total.Forward.Plus(total.Backward).Needed) * s.ImagesPerSecond()
}

// PeakShare is Rate's share of what the threads could do at most.
func (s *Step) PeakShare() float64 { return s.Rate() / s.PeakRate }

// profiled is a plan that takes its time by layer.
type profiled interface {
	Profile(on bool)
	Times(times []cpu.LayerTime) []cpu.LayerTime
}

// MeasureStep measures steps, and the peak before each. It returns ctx's error
// where that ends before the last step.
func MeasureStep(ctx context.Context, cfg StepConfig) (*Step, error) {
	t, err := newTrainer(cfg)
	if err != nil {
		return nil, fmt.Errorf("bench: %s, %d threads: %w", cfg.Network.Name, cfg.Threads, err)
	}
	defer t.close()
	steps := cfg.Steps
	if steps == 0 {
		steps = maxSteps
	}
	peak := NewPeak(cfg.Threads, steps)
	defer peak.Close()
	for range cfg.Warm {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := t.step(); err != nil {
			return nil, err
		}
	}

	var laps *laps
	if plan, ok := t.plan.(profiled); ok && cfg.Layers {
		laps = newLaps(plan, steps)
	}
	took, updates, allocated := make([]time.Duration, 0, steps), make([]time.Duration, 0, steps), make([]uint64, 0, steps)
	var before, after runtime.MemStats
	runtime.GC() // none of what was there before is cleared away while steps are measured
	began := time.Now()
	for len(took) < steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if cfg.Steps == 0 && len(took) >= minSteps && time.Since(began) >= cfg.Time {
			break
		}
		peak.Burst()
		runtime.ReadMemStats(&before)
		start := time.Now()
		err := t.step()
		took = append(took, time.Since(start))
		runtime.ReadMemStats(&after)
		if err != nil {
			return nil, err
		}
		updates = append(updates, t.update)
		allocated = append(allocated, after.TotalAlloc-before.TotalAlloc)
		laps.take()
	}
	return &Step{
		Config: cfg, Kernel: kernel.Name(), Steps: len(took), Time: median(took), Update: median(updates),
		PeakRate: peak.Rate(), AllocatedBytes: median(allocated), Layers: laps.medians(),
	}, nil
}
