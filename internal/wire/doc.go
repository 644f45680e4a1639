// Package wire is the border between vectors and messages: how a range of
// float32 becomes the payload of a chunk and comes back, and how a job is named
// by hash.
//
// The hot messages of the exchange, gradients, factors and parameters, are Request
// and Response here, with their values in a pooled Payload, or Operands; Codec writes
// and reads them for gRPC, by hand and in the very bytes of the generated code.
// Every other message, and Push and Pull, are the generated code's.
//
// Invariants:
//  1. On the wire a payload is the values in one of three encodings, little-endian,
//     with the CRC-32C of its bytes in the message; one of another length, checksum
//     or encoding than wanted is ErrMalformed, and counts for nothing. What has come
//     is float32: it is decoded once, into another payload.
//  2. A Payload has one owner. It goes with its message: whoever sends gives it
//     away, whoever receives frees it. While gRPC sends, it is gRPC's. Operands that
//     have come may be shared: several read them, and the last to free gives them back.
//  3. A payload is copied once on its way from one process to another on each
//     side, by the connection when sending and by Codec when receiving, and not
//     at all between two ends that see the same memory: there it is a view.
//  4. Memory that is shared (Segment) is written to by who made it alone; see
//     Shared for what keeps its reader and its writer apart.
//
// The package knows ranges of float32, not layouts or networks, and starts no
// goroutine. codec.go and frames.go are the only files that know gRPC.
package wire
