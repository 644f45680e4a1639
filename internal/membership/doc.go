// Package membership tells who takes part in a job, through etcd, and who owns
// which shard.
//
// A Registry reads and writes the keys of one job:
//
//	/muster/<job>/workers/<id>   a Member, for as long as its Lease lives
//	/muster/<job>/servers/<id>   a Server, for as long as its Lease lives
//	/muster/<job>/leader         the Leader, for as long as its Lease lives
//	/muster/<job>/term           the term of the last leader, for good
//	/muster/<job>/assignment     the numbered Assignment, for good
//
// Of several parameter servers one leads: whoever Lead was first for. Assign, a
// pure function, says which worker owns which shard; the leader saves what it says
// with SaveAssignment. By what rules and when it asks is pure as well: Candidates,
// Urgent and Vigil take the time as an argument, so that a day of workers that come
// and go can be played in a test.
//
// Invariants:
//  1. A key of a worker, server or leader lives exactly as long as the lease under
//     which it was written last.
//  2. Assignments are numbered without gaps: number k is saved only over number
//     k-1, so of two who try, one is told ErrConflict.
//  3. Each leader has a higher term than all before it; of a leader's assignments
//     none is saved once there is one of a higher term.
//  4. Assign depends on nothing but its arguments.
//  5. An outage of etcd is told once when it begins and once when it ends, whoever
//     meets it, and breaks nothing: Watch goes on, and what is Held is taken anew.
//
// Goroutines: Register, RegisterServer and Lead start one each, owned by the returned
// Lease, and Hold and HoldSoon one more, owned by the returned Held; Release and Abandon
// end them and wait. Nothing else starts any.
//
// Trying again to lead, telling workers what they own, and the times after which
// a lost worker's shard is handed over are left to others. The package imports
// nothing of the project; membership/embedded runs an etcd inside the process.
package membership
