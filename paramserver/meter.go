package paramserver

import (
	"math"
	"time"

	"github.com/muster-train/muster/internal/telemetry"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Split is where the time of this process's steps went.
type Split struct {
	Compute  time.Duration // the slowest worker's gradients, step by step
	Exchange time.Duration // the rest of a step: transport, sums, update
	Evaluate time.Duration // evaluations
	Images   int           // trained on
}

// ImagesPerSecond is the throughput of training, evaluations left out.
func (s Split) ImagesPerSecond() float64 {
	if t := (s.Compute + s.Exchange).Seconds(); t > 0 {
		return float64(s.Images) / t
	}
	return 0
}

// means are of one step or epoch.
type means struct{ Loss, Accuracy float64 }

// meter measures rounds. It belongs to the loop.
type meter struct {
	split   Split
	opened  time.Time
	compute map[string]float64 // seconds of the open round, by worker

	last   means     // of the newest step
	epoch  Tally     // of the epoch so far, as far as this process saw it
	begun  time.Time // when the epoch began, or this process took it up
	speed  float64   // images per second, smoothed
	rounds int
}

func (m *meter) begin() {
	m.opened = time.Now()
	if m.begun.IsZero() {
		m.begun = m.opened
	}
	m.compute = map[string]float64{}
}

// computed adds time that a worker has spent on the open round.
func (m *meter) computed(worker string, seconds float64) {
	if seconds > 0 && seconds < 1e6 {
		m.compute[worker] += seconds
	}
}

func (m *meter) end(kind musterv1.WorkKind) {
	took := time.Since(m.opened)
	if kind == musterv1.WorkKind_WORK_KIND_EVALUATE {
		m.split.Evaluate += took
		return
	}
	slowest := 0.0
	for _, s := range m.compute {
		slowest = max(slowest, s)
	}
	compute := min(time.Duration(slowest*float64(time.Second)), took)
	m.split.Compute += compute
	m.split.Exchange += took - compute
}

// step adds what a step's images came to.
func (m *meter) step(t Tally) {
	took := time.Since(m.opened).Seconds()
	m.split.Images += t.Images
	m.last = means{t.Loss / float64(t.Images), float64(t.Top1) / float64(t.Images)}
	m.epoch.Images += t.Images
	m.epoch.Loss += t.Loss
	m.epoch.Top1 += t.Top1
	if took > 0 {
		now := float64(t.Images) / took
		if m.rounds == 0 {
			m.speed = now
		}
		m.speed += (now - m.speed) / float64(min(m.rounds+1, 20))
		m.rounds++
	}
}

// report tells how the step that has just been published went.
func (s *Server) report(sum Tally) {
	s.meter.step(sum)
	step, samples := s.store.At()
	batches := s.cut.Steps()
	total := uint64(s.cut.EpochImages()) * uint64(s.job.Epochs)
	var left time.Duration
	if s.meter.speed > 0 && total > samples {
		left = time.Duration(float64(total-samples) / s.meter.speed * float64(time.Second))
	}
	s.cfg.Progress.Update(telemetry.Sample{
		Epoch: s.at.Epoch + 1, Epochs: int(s.job.Epochs), Batch: s.at.Batch + 1, Batches: batches, Step: uint64(step),
		Loss: s.meter.last.Loss, Accuracy: s.meter.last.Accuracy,
		ImagesPerSecond: s.meter.speed, Remaining: left,
	})
	s.cfg.Progress.DebugPass(s.at.Epoch, s.at.Batch, s.meter.last.Loss, 1-s.meter.last.Accuracy)
}

// score records an evaluation at the end of an epoch.
func (s *Server) score(sum Tally) {
	step, samples := s.store.At()
	n := float64(sum.Images)
	e := checkpoint.EpochScore{
		Epoch: s.at.Epoch, Step: uint64(step), Samples: samples,
		TestLoss: checkpoint.Float(sum.Loss / n), Top1: checkpoint.Float(float64(sum.Top1) / n), Top5: checkpoint.Float(float64(sum.Top5) / n),
		Rate: checkpoint.Float(s.rate), Seconds: checkpoint.Float(time.Since(s.meter.begun).Seconds()),
		TrainLoss: checkpoint.Float(math.NaN()),
	}
	speed := math.NaN() // as the training loss: an epoch of which this process saw only the evaluation
	if s.meter.epoch.Images > 0 {
		e.TrainLoss = checkpoint.Float(s.meter.epoch.Loss / float64(s.meter.epoch.Images))
		speed = float64(s.meter.epoch.Images) / time.Since(s.meter.begun).Seconds()
	}
	s.history = append(s.history[:len(s.history):len(s.history)], e)
	if s.best == nil || e.Top1 > s.best.Accuracy {
		s.best = &checkpoint.Score{Step: e.Step, Epoch: e.Epoch, Accuracy: e.Top1, Loss: e.TestLoss}
	}
	s.cfg.Progress.Epoch(telemetry.EpochResult{
		Epoch: e.Epoch + 1, Epochs: int(s.job.Epochs), Step: e.Step,
		TrainLoss: float64(e.TrainLoss), TestLoss: float64(e.TestLoss), Top1: float64(e.Top1), Top5: float64(e.Top5),
		ImagesPerSecond: speed, Seconds: float64(e.Seconds), Synthetic: s.data.Synthetic,
	})
	s.meter.epoch, s.meter.begun = Tally{}, time.Time{}
}

// nobody is told and does nothing.
type nobody struct{}

func (nobody) Update(telemetry.Sample)              {}
func (nobody) Epoch(telemetry.EpochResult)          {}
func (nobody) DebugPass(int, int, float64, float64) {}
