// Package worker computes the gradients of shards.
//
// The loop is in worker.go: it receives an assignment of shards, the parameters
// of a step and a piece of work, computes what its shards contribute, and sends
// it. Every contribution is a pure function of the parameters, the shard, the
// step and the seed, so a worker may be killed, replaced or repeated at any
// moment without changing a bit of the result. Where a job is exchanged as int8, a
// contribution also makes up for what was cut off the one before (residuals.go), and
// that does not hold.
//
// Invariants:
//  1. A piece of work is computed with the parameters of its own step: each layer
//     waits for its own, and what comes of the next step meanwhile waits.
//  2. What has been sent for a piece of work is not sent again over the same
//     stream unless the server refuses it; over a new stream it is, and the
//     server drops the repeat.
//  3. A server that is not there, or goes away, is waited for; a server that
//     refuses the worker ends it.
//
// Gradients leave while backward still runs: outgoing sends each chunk as soon as
// it is final; in jobs with the encoding factors, what the gradients of fully connected
// layers are the products of goes for their chunks (factors.go). Parameters come in chunk by chunk too, as held keeps account of.
// Where the server sees the same memory both stay where they are; vectors says
// which memory the plan computes with.
//
// Goroutines, all started and awaited by Run: the loop, which alone calls the
// plan; one that receives, ahead of the loop by two vectors of parameters at most;
// one that sends while a gradient is computed, and alone reads the plan's sums
// then; the loader's.
//
// client.go is the only file that knows gRPC; the loop sees a Link. sharing.go is
// the memory that a client shares with a server in another process. parts.go makes the
// streams to several servers of one job look like one; a goroutine for each receives.
package worker
