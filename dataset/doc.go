// Package dataset finds CIFAR-10, cuts it into shards and prepares batches
// ahead of the training loop.
//
// Open returns a whole Set in memory: from a directory in the binary or the
// python format, from the cache directory, from the network, or the built-in
// synthetic images. Cut says which images of which shard each step takes,
// Permutation in which order, Transform turns their bytes into network input,
// and Loader does all three one batch ahead of its caller.
//
// Invariants:
//  1. Every random choice is a pure function of (seed, epoch, shard) or of
//     (seed, epoch, image number): no worker's history enters a batch, so any
//     worker prepares the same bytes for the same shard and step.
//  2. Over an epoch without a limit each training image is used exactly once.
//  3. No platform mathematics: what Transform computes, it computes in the same
//     separately rounded float32 operations everywhere.
//  4. A file that is not wholly as expected is refused with one error that
//     names the file, the offset and what was expected there; nothing read from
//     it is used.
//  5. What is downloaded becomes visible under its final name only when its
//     checksums agreed and all its records were read.
//
// Goroutines: only Loader.Run starts any (the helpers that prepare a batch
// ahead), and it waits for them before it returns. Fetch reads the network on
// its caller's goroutine.
//
// What it leaves to others: flags and progress bars (cmd), and who owns which
// shard (membership).
package dataset
