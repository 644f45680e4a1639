package device

import "github.com/muster-train/muster/model/params"

// Factors asks Gradient for parts of the gradients of fully connected layers as the
// two factors whose product they are, shard by shard, in place of sums: a shard's
// gradient of the weight from input i to output k is the chain of fused
// multiply-adds over its images n, in ascending order, that starts from +0,
//
//	sum = fma(deltas[n,k], activations[n,i], sum)
//
// where activations are what went into the layer, in the order of the weights, and
// deltas the gradients of what came out of it.
//
// A device may leave any part alone: it then sums it up for every node as ever, and
// never calls Room or Done for it. Of a part that is handed out ready is not told,
// and Sum holds there what it may.
type Factors struct {
	// Parts are ranges of values, ascending, each within the Weight of one Dense and
	// at most one of each.
	Parts []params.Range
	// Room returns where the factors of a part are wanted, of a shard that has images:
	// activations (images, in) and deltas (images, out). It is called by Gradient, from
	// the caller's goroutine, once the layer's deltas are known.
	Room func(part int, shard ShardImages) (activations, deltas []float32)
	// Done tells, as Room asks, that what Room returned has been filled. Parts come in
	// the order of backward, of each the shards in the order of the batch.
	Done func(part int, shard ShardImages)
}
