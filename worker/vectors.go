package worker

import (
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// vectors are those that a plan computes with: its own, or such as the server
// sees too. See wire.Shared for what keeps one end from changing what the other
// reads. The loop alone touches it.
type vectors struct {
	parameters []float32   // the plan's own
	sums       [][]float32 // the plan's own, by node

	shared   *wire.Shared // over the stream at hand; nil: nothing
	lent     [][]float32  // by node: sums that the server sees
	lentStep uint64       // of which sums were lent last over it, plus one
}

// own notes the vectors of a new plan.
func (v *vectors) own(plan device.Plan, nodes int) {
	v.parameters, v.sums = plan.Parameters(), make([][]float32, nodes)
	for i := range v.sums {
		v.sums[i] = plan.Sum(i)
	}
}

// begins makes ready for a stream over which memory is shared or not. What was
// lent over one before, where it may still be read, is not written to again.
func (v *vectors) begins(shared *wire.Shared) {
	v.shared, v.lent, v.lentStep = shared, nil, 0
	if shared != nil {
		v.lent = shared.Sums
	}
}

// ends has the plan use its own vectors again.
func (v *vectors) ends(plan device.Plan) {
	if v.shared == nil {
		return
	}
	plan.UseParameters(v.parameters)
	for i, sum := range v.sums {
		plan.UseSum(i, sum)
	}
	v.shared, v.lent = nil, nil
}

// read has the plan read the server's parameters of a step, if it sees them.
func (v *vectors) read(plan device.Plan, step uint64) {
	if v.shared != nil {
		plan.UseParameters(v.shared.Parameters[step%2])
	}
}

// place decides where a plan leaves the sums of some nodes at a step, and returns
// of how many the server may see them there: what it was lent for this step already
// it may not have added up yet, and it may not see as many as there are.
func (v *vectors) place(plan device.Plan, step uint64, nodes int) (lend int) {
	if v.shared != nil && v.lentStep != step+1 {
		v.lentStep = step + 1
		if v.shared.Sums == nil {
			for len(v.lent) < nodes {
				v.lent = append(v.lent, params.NewVector(len(v.sums[0])))
			}
		}
		lend = min(nodes, len(v.lent))
	}
	for i := range nodes {
		if i < lend {
			plan.UseSum(i, v.lent[i])
		} else {
			plan.UseSum(i, v.sums[i])
		}
	}
	return lend
}
