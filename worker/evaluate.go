package worker

import (
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model/device"
)

// EvaluateImages is the number of images that a plan must hold for Evaluate. It
// is fixed because a slice's loss is summed batch by batch.
const EvaluateImages = 128

// Evaluate runs the test images i with i mod shards == shard through plan, and
// returns what they come to. The result is a function of the parameters alone.
// scratch is reused. seen, where it is not nil, is told the labels of each batch
// and the classes that ranked first, -1 where none did; both are valid until it
// returns.
func Evaluate(plan device.Plan, loader *dataset.Loader, scratch *dataset.Batch, shard, shards int, seen func(labels, predicted []int32)) (device.Tally, error) {
	var room []int32 // for the predicted classes of a batch
	if seen != nil {
		room = make([]int32, EvaluateImages)
	}
	total := device.Tally{Shard: shard}
	for from := 0; ; {
		n := loader.Test(scratch, shard, shards, from, EvaluateImages)
		if n == 0 {
			return total, nil
		}
		from += n
		predicted := room[:min(n, len(room))]
		tallies, err := plan.Evaluate(&device.Batch{
			Images: scratch.Images, Labels: scratch.Labels, Index: scratch.Index,
			Shards: []device.ShardImages{{Shard: shard, Images: n}}, Predicted: predicted,
		})
		if err != nil {
			return total, err
		}
		if seen != nil {
			seen(scratch.Labels, predicted)
		}
		total.Images += n
		total.Loss += tallies[0].Loss
		total.Top1 += tallies[0].Top1
		total.Top5 += tallies[0].Top5
	}
}
