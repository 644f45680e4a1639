// Package embedded runs an etcd inside the process, so that a job needs nothing
// but a parameter server.
//
// It is etcd of one member, for one process: it is not highly available, and
// dies with its process. What was written stays in its directory, also after a
// kill, and is there again when the next process starts on that directory;
// leases of processes that are gone then run for their time to live once more
// and expire. A standby needs an etcd of its own outside.
//
// Clients in the process call it directly (Server.Client). For tools such as
// etcdctl it also listens, by default on a unix socket inside its directory, so
// that no port is needed and file permissions say who may connect.
//
// Invariants:
//  1. A write that was acknowledged is on disk.
//  2. One process at a time uses a directory; a second is told so at once.
//
// Goroutines: Start starts etcd's own, Close ends them and waits.
package embedded
