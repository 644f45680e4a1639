// Package worker computes the gradients of shards.
//
// The loop is in worker.go: it receives an assignment of shards, the parameters
// of a step and a piece of work, computes what its shards contribute, and sends
// it. Every contribution is a pure function of the parameters, the shard, the
// step and the seed, so a worker may be killed, replaced or repeated at any
// moment without changing a bit of the result.
//
// Invariants:
//  1. A piece of work is computed with the parameters of its own step, whole.
//  2. What has been sent for a piece of work is not sent again over the same
//     stream unless the server refuses it; over a new stream it is, and the
//     server drops the repeat.
//  3. A server that is not there, or goes away, is waited for; a server that
//     refuses the worker ends it.
//
// Goroutines, all started and awaited by Run: the loop, which alone touches the
// plan; one that receives, handing over one message at a time; the loader's.
//
// client.go is the only file that knows gRPC; the loop sees a Link.
package worker
