// Package shaped gives a server and its peers the network that a measurement is
// about: links of a set bandwidth and delay, in front of sockets of this machine.
//
// The server has one link in each direction, which all its connections share, and
// so has each peer, which has one connection. All links are of the same bandwidth.
// It is shaped at the server's end of each connection, by wrapping its listener, so
// that neither server nor peer knows.
//
// Invariants:
//  1. No byte arrives before all that was sent over its links ahead of it has
//     passed, and the delay after that.
//  2. A connection's bytes arrive in the order in which they were sent.
//  3. A late timer delays what it waits for and costs no bandwidth: a piece's time
//     on a link follows from that of the piece before it, not from when somebody woke.
//
// A connection has two goroutines, which Accept starts and Close waits for.
//
// What is left out: packets are never lost, headers of TCP and IP take no room,
// and a queue holds no more than the senders' buffers do.
package shaped
