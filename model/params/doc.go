// Package params says how all parameters of a network lie in one flat vector,
// and how sums over shards are formed.
//
// A Layout fixes order, names and shapes; its Fingerprint is compared when a
// worker joins. A Vector is all values as float32. A chunk is a fixed range of
// ChunkValues values, the unit of transport, locking and update. A Node names a
// node of the fixed binary tree over the shards of a job: whoever adds
// gradients of several shards adds them along that tree, so that the sum has
// the same bits whoever formed which part of it. A live value is one whose
// gradient is not known to be zero; a contribution to a chunk is its live values.
//
// Invariants:
//  1. A tensor's values are one contiguous range of the vector; ranges follow
//     each other without gaps in the order of the Layout.
//  2. A sum over shards is the sum over the left half of its Node plus the sum
//     over the right half; a half without images is passed over, not added as zero.
//
// The package starts no goroutine and does no I/O.
package params
