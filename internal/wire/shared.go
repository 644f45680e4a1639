package wire

// Shared is memory that a worker and its server both see, vector by vector. With
// it, gradients and parameters stay where they are made: their messages have views
// of these vectors as payloads, and tell no more than that a chunk is ready.
//
// What keeps one end from changing what the other reads is the order of a job:
//   - The server makes a chunk of step s+2 in the place of step s once step s+1 is
//     whole. Who still computes from step s then has no part in the job any more:
//     what it sends is late, and refused.
//   - A worker lends its sums of a step once over a stream, and computes the next
//     step when it is asked to: all of them have been added up then. What it has to
//     compute again for the same step it sends from other memory.
type Shared struct {
	// Parameters is the server's vectors at even and at odd steps.
	Parameters [2][]float32
	// Sums is vectors that the server sees, for sums of the worker's. Nil: it sees
	// all of the worker's memory.
	Sums [][]float32
}
