// Package wire is the border between vectors and messages: how a range of
// float32 becomes the payload of a chunk and comes back, and how a job is named
// by hash.
//
// Invariants:
//  1. A payload is the values as little-endian float32, with its CRC-32C in the
//     message; a payload of another length, checksum or encoding is ErrMalformed.
//  2. A payload to be sent may be a view of the values: they must not change
//     until the send has returned. A payload received is copied by Decode.
//
// The package knows ranges of float32, not layouts or networks, and starts no
// goroutine.
package wire
