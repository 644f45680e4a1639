package bench

import (
	"time"

	"github.com/muster-train/muster/model/device/cpu"
)

// laps keeps the times by layer of each step. A nil laps keeps none.
type laps struct {
	plan  profiled
	rows  int             // of a step
	times []cpu.LayerTime // of all steps, one after the other
}

// newLaps makes plan take its time. There is room for that many steps.
func newLaps(plan profiled, steps int) *laps {
	plan.Profile(true)
	l := &laps{plan: plan, rows: len(plan.Times(nil))}
	l.times = make([]cpu.LayerTime, 0, l.rows*steps)
	return l
}

// take keeps what the step since the last take took.
func (l *laps) take() {
	if l != nil {
		l.times = l.plan.Times(l.times)
	}
}

// medians returns a row for each layer, each figure the median over the steps.
func (l *laps) medians() []cpu.LayerTime {
	if l == nil || len(l.times) == 0 {
		return nil
	}
	all := make([]cpu.LayerTime, l.rows)
	for i := range all {
		var forward, backward, weights []time.Duration
		for at := i; at < len(l.times); at += l.rows {
			t := &l.times[at]
			forward, backward, weights = append(forward, t.Forward), append(backward, t.Backward), append(weights, t.Weights)
		}
		all[i] = cpu.LayerTime{Layer: l.times[i].Layer, Forward: median(forward), Backward: median(backward), Weights: median(weights)}
	}
	return all
}
