// Package paramserver owns the parameters of a job and applies gradients to them.
//
// The loop is in server.go: for each step it opens a Round, asks every worker
// for the gradients of its shards, gathers contributions until every shard that
// has images has counted once in every chunk, and publishes the next step. At
// the end of an epoch it asks the shards' owners for loss and accuracy over the
// test set in the same way, and writes a checkpoint.
//
// A job with relaxed synchronisation applies each contribution by itself, as soon as
// it comes: relaxed.go has its loop, Window decides in the place of Round, and Store
// has one live version of each chunk (live.go). Sessions send that, and remember how
// many updates it had (reads.go). Invariants 2 and 3 then hold for each chunk by
// itself, and for all where the state is written or evaluated.
//
// A job of several parts has a server for each: part.go is the server of any but the
// first, which parts.go makes coordinate the others by orders to each (assistant.go).
//
// Standbys follow a server that leads by election (followers.go) and have every step
// that it has published (standby.go), so that a server made of what one has goes on.
//
// Invariants:
//  1. A contribution counts exactly once or not at all: Round or Window decides, by name.
//  2. The sum over shards is params' tree, whatever order contributions come in
//     and however many shards one of them covers.
//     Contributions may come as factors (factors.go), each as several: they count chunk
//     by chunk, and a chunk's lane forms its values, in the order of a worker's kernels.
//  3. A pull sees the parameters of one step, never a mixture: Store publishes
//     a step when all its chunks are done, and keeps it until the next is. Over a
//     stream each chunk of the next step goes back as soon as it is made; a session
//     knows at which step its worker holds each, and sends those that it lacks for
//     its work.
//     Where a job's encoding says so, workers see rounded parameters, over whatever
//     they come; checkpoints and pulls have those that updates go by.
//  4. The learning rate of a step depends on the samples before it alone, and only the
//     server knows it.
//  5. A checkpoint is the whole state at one step, of all parts.
//  6. No part is more than a round ahead of another: each publishes a step once all
//     have made their chunks of it.
//  7. No step is published that a standby, unless it has been sent away, has not.
//
// Goroutines, all started and awaited by Run: the loop, which alone touches
// Round, Window, assignment and phase; lanes, each of which does the arithmetic of its
// chunks in order; one that writes checkpoints, and one for each that waits for
// its result; one that writes assignments to etcd; one that watches membership.
// hung.go finds workers that are there and do nothing. Timers bring their events to the
// loop, and nothing once it has ended. A session (one for each connected worker) has two,
// one for each direction, which live within its Exchange call. They speak with the loop
// by events.
//
// The server of another part has the same lanes and sessions, and a loop of its own,
// which one goroutine brings what the coordinator says; at the coordinator a stream to
// each has two, which never wait for the loop.
//
// service.go and, between servers, assist.go are the only files that know gRPC; Local serves a worker in the
// same process through the same sessions.
package paramserver
