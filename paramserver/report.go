package paramserver

import (
	"math"
	"time"

	"github.com/muster-train/muster/internal/telemetry"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// report tells how the step that has just been published went.
func (s *Server) report(sum Tally) {
	s.meter.step(sum)
	step, _ := s.store.At()
	batches := s.cut.Steps()
	s.cfg.Progress.Update(telemetry.Sample{
		Epoch: s.at.Epoch + 1, Epochs: int(s.job.Epochs), Batch: s.at.Batch + 1, Batches: batches, Step: uint64(step),
		Loss: s.meter.last.Loss, Accuracy: s.meter.last.Accuracy,
		ImagesPerSecond: s.meter.speed, Remaining: s.remaining(),
	})
	s.cfg.Progress.DebugPass(s.at.Epoch, s.at.Batch, s.meter.last.Loss, 1-s.meter.last.Accuracy)
}

// remaining is the time that the steps to come take at the present speed; 0:
// not known yet.
func (s *Server) remaining() time.Duration {
	_, samples := s.store.At()
	total := uint64(s.cut.EpochImages()) * uint64(s.job.Epochs)
	if s.meter.speed <= 0 || total <= samples {
		return 0
	}
	return seconds(float64(total-samples) / s.meter.speed)
}

// score records an evaluation at the end of an epoch.
func (s *Server) score(sum Tally) {
	step, samples := s.store.At()
	n := float64(sum.Images)
	e := checkpoint.EpochScore{
		Epoch: s.at.Epoch, Step: uint64(step), Samples: samples,
		TestLoss: checkpoint.Float(sum.Loss / n), Top1: checkpoint.Float(float64(sum.Top1) / n), Top5: checkpoint.Float(float64(sum.Top5) / n),
		Rate: checkpoint.Float(s.rate), Seconds: checkpoint.Float(s.meter.elapsed().Seconds()),
		TrainLoss: checkpoint.Float(math.NaN()),
	}
	speed := math.NaN() // as the training loss: of an epoch that was taken up from a checkpoint that didn't say
	if s.meter.epoch.Images > 0 {
		e.TrainLoss = checkpoint.Float(s.meter.epoch.Loss / float64(s.meter.epoch.Images))
		speed = float64(s.meter.epoch.Images) / float64(e.Seconds)
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
	s.cfg.Progress.DebugTest(e.Epoch, float64(e.TestLoss), 1-float64(e.Top1))
	s.meter.nextEpoch()
}

// nobody is told and does nothing.
type nobody struct{}

func (nobody) Update(telemetry.Sample)              {}
func (nobody) Epoch(telemetry.EpochResult)          {}
func (nobody) DebugPass(int, int, float64, float64) {}
func (nobody) DebugTest(int, float64, float64)      {}
