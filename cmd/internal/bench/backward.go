package bench

import (
	"strings"
	"time"

	"github.com/muster-train/muster/model"
)

// backward returns by chunk when a worker has its gradient, from the beginning of a
// step on that takes it compute.
//
// A third of that is the forward pass. Backward goes through the layers from the
// last to the first and takes for each as long as its share of the operations, first
// for the gradient of its parameters, which is there as a whole then, as the CPU's is,
// and as long again for that of its input. A chunk is there with the lowest of its
// layers, and the first chunk with the end of the step.
func backward(network *model.Network, compute time.Duration) []time.Duration {
	rows := network.Summary()
	var all, done int64
	for _, row := range rows {
		all += row.Backward.Needed
	}
	ready := map[string]float64{} // share of backward, by layer
	for i := len(rows) - 1; i >= 0; i-- {
		row := rows[i]
		ready[row.Name] = float64(done+row.Forward.Needed) / float64(all)
		done += row.Backward.Needed
	}
	after := make([]time.Duration, network.Layout.Chunks())
	for chunk := range after {
		r := network.Layout.Chunk(chunk)
		for _, t := range network.Layout.Tensors() {
			if t.Range.First >= r.End || t.Range.End <= r.First {
				continue
			}
			layer, _, _ := strings.Cut(t.Name, ".")
			at := time.Duration(float64(compute) * (1 + 2*ready[layer]) / 3)
			after[chunk] = max(after[chunk], at)
		}
	}
	return after
}
