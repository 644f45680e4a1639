// Package cpu runs networks on the processor's cores, over internal/kernel.
//
// Activations lie as [lane block][pixel][channel][lane], where a lane block is
// 16 images of the batch that follow each other, the last one filled up with
// zeros. So a matrix product finds 16 images side by side whatever the layer,
// nothing is packed for it, and everything elementwise runs over flat memory.
//
// Every output of a product is one chain of fused multiply-adds:
//
//	forward        starts from the bias; taps in ascending order, row first, and
//	               the channels of each; taps outside the image are passed over
//	input gradient starts from +0; taps in the same order, and the output
//	               channels of each
//	weights        for each shard, starts from +0; the output pixels in row-major
//	               order, and the shard's images of each
//
// With device.BF16 two factors that follow each other stand where one stands
// here: pairs of channels, or of images (pairs.go).
//
// Where a group has fewer than 16 input channels, the chains of its weights
// take taps outside the image as zeros. Bias gradients take the weights' order
// with plain additions. What these come to for each shard is then added along
// params' tree. Where device.Options.Sums is BF16, it is rounded before, when its
// chain has ended, and each sum of two as it is formed.
//
// Invariants:
//  1. Work is cut by outputs, never within a chain: neither the number of
//     threads, nor the cut into panels and tiles, nor the lane that an image
//     happens to lie in changes a bit.
//  2. Compile allocates everything; Gradient, Evaluate and Predict nothing.
//  3. What lies in lanes without an image is computed along and never read by
//     anything that is returned.
//
// A Device starts its threads, one goroutine for each but the first, when the
// first graph is compiled, and Close ends them and waits for them. Between
// calls they look for the next one for some tens of microseconds, then they are
// parked. The first thread is the caller's goroutine, which
// also calls ready. A Device may be used by several goroutines, a Plan by one
// at a time.
package cpu
