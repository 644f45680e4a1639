package worker

import (
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// vectors are those that a plan computes with: its own, or such as the server
// sees too. See wire.Shared for what keeps one end from changing what the other
// reads. The loop alone touches it.
type vectors struct {
	parameters []float32   // the plan's own
	sums       [][]float32 // the plan's own, by node
	lent       [][]float32 // by node: what the server sees over the stream at hand
	lentStep   uint64      // of which sums were lent last over it, plus one
}

// own notes the vectors of a new plan.
func (v *vectors) own(plan device.Plan, nodes int) {
	v.parameters, v.sums = plan.Parameters(), make([][]float32, nodes)
	for i := range v.sums {
		v.sums[i] = plan.Sum(i)
	}
}

// begins forgets what was lent: what a stream before may still be read from is
// not written to again.
func (v *vectors) begins() { v.lent, v.lentStep = nil, 0 }

// place decides where a plan leaves the sums of some nodes at a step, and tells
// whether the server may see them there: what it was lent for this step already
// it may not have added up yet.
func (v *vectors) place(plan device.Plan, step uint64, nodes int, shared bool) (lend bool) {
	lend = shared && v.lentStep != step+1
	for i := range nodes {
		if !lend {
			plan.UseSum(i, v.sums[i])
			continue
		}
		if i == len(v.lent) {
			v.lent = append(v.lent, params.NewVector(len(v.sums[i])))
		}
		plan.UseSum(i, v.lent[i])
	}
	if lend {
		v.lentStep = step + 1
	}
	return lend
}
