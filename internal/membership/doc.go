// Package membership tells who takes part in a job, through etcd, and who owns
// which shard.
//
// A Registry reads and writes the keys of one job:
//
//	/muster/<job>/workers/<id>   a Member, for as long as its Lease lives
//	/muster/<job>/servers/<id>   a Server, for as long as its Lease lives
//	/muster/<job>/assignment     the numbered Assignment, for good
//
// Assign, a pure function, says which worker owns which shard; the leader saves
// what it says with SaveAssignment.
//
// Invariants:
//  1. A key of a worker or server lives exactly as long as the lease under
//     which it was written last.
//  2. Assignments are numbered without gaps: number k is saved only over number
//     k-1, so of two who try, one is told ErrConflict.
//  3. Assign depends on nothing but its arguments.
//
// Goroutines: Register and RegisterServer start one each, owned by the returned
// Lease, which Release and Abandon end and wait for. Nothing else starts any.
//
// Electing the leader, telling workers what they own, and the times after which
// a lost worker's shard is handed over are left to others. The package imports
// nothing of the project; membership/embedded runs an etcd inside the process.
package membership
