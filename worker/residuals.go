package worker

import (
	"maps"
	"slices"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
)

// residuals are what int8 has cut off the sums of nodes: two vectors for each that
// is sent, so that a step can be computed again. They belong to sums that follow
// each other, step after step: where shards move, or a stream begins, they are
// forgotten, since nobody can tell what of the last step has counted.
type residuals map[params.Node][]wire.Feedback

// of is those of a chunk of a node's sum, of so many.
func (r *residuals) of(node params.Node, chunk, chunks int) *wire.Feedback {
	if *r == nil {
		*r = residuals{}
	}
	all := (*r)[node]
	if all == nil {
		all = make([]wire.Feedback, chunks)
		(*r)[node] = all
	}
	return &all[chunk]
}

// keep forgets those of other nodes: such as was sent of a single step.
func (r residuals) keep(nodes []params.Node) {
	maps.DeleteFunc(r, func(d params.Node, _ []wire.Feedback) bool { return !slices.Contains(nodes, d) })
}

// forget forgets all.
func (r residuals) forget() { clear(r) }
