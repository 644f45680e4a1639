package optim

import "math"

// Progress is how far a job has come when an update is about to be applied.
type Progress struct {
	Samples uint64 // images whose gradients have been applied before, over all workers
	Epoch   int    // epoch of the step, counted from 0
}

// Schedule is a learning rate over the life of a job. Make one by
// ParseSchedule; the zero Schedule has rate 0 throughout.
type Schedule struct {
	kind   string
	base   float64
	warmup uint64 // samples; 0: none
	curve  curve
}

// Rate returns the learning rate of the update at p: the curve's rate, times
// samples/N during a warm-up of N samples, rounded to float32. It is never NaN,
// infinite or below 0: curves that grow without bound stop at the largest float32.
func (s Schedule) Rate(p Progress) float32 {
	if s.curve == nil {
		return 0
	}
	rate := s.curve.rate(s.base, p)
	if p.Samples < s.warmup {
		rate = float64(rate * (float64(p.Samples) / float64(s.warmup)))
	}
	return float32(min(rate, math.MaxFloat32))
}

// Base returns the base rate the schedule was made for.
func (s Schedule) Base() float64 { return s.base }

// String returns the canonical specification: ParseSchedule of it with the same
// base gives an equal schedule, totals that were left out are filled in, and
// two texts of one schedule have the same String. It is empty for the zero Schedule.
func (s Schedule) String() string {
	if s.curve == nil {
		return ""
	}
	text := s.kind
	if args := s.curve.args(); args != "" {
		text += ":" + args
	}
	if s.warmup > 0 {
		text = "warmup:" + number(float64(s.warmup)) + "+" + text
	}
	return text
}
