// Package device says what a network needs of hardware.
//
// A Graph is a network with every shape resolved: a chain of operations that
// name their parameters by range of the one vector. A Device compiles a Graph
// into a Plan, once; everything a step needs is allocated then, and a step
// allocates nothing. How a device lays its memory out is its private matter:
// what crosses this border is images (N, C, H, W), the flat vector of
// parameters, flat vectors of gradients, and tallies.
//
// Invariants, held by every device and checked by devicetest:
//  1. The gradient of a shard is a pure function of parameters, images, labels,
//     seed, step and image indices: not of the other shards in the batch, the
//     number of images beside them, threads, or what the plan computed before.
//  2. The gradient of a node is the sum along params' tree; shards without
//     images are passed over. Where Options.Sums is BF16, each node on the way is
//     rounded, leaves among them, so that a node is what its halves' nodes give
//     whoever adds them.
//  3. The product of the factors that are handed out (Factors) is the shard's
//     gradient, bit for bit.
//  4. Dropout's mask is that of Mask, whatever the device.
//
// A Plan is used by one goroutine at a time. Devices start goroutines only
// within a call, or stop them in Close.
package device
