// Package checkpoint makes the state of a job at one step durable, and finds it
// again: parameters, momentum, step, samples, schedule, job specification and
// scores, in one file. docs/checkpoint.md gives the file format byte by byte.
//
// Invariants:
//  1. A file under its final name is whole: it was written beside it, flushed to
//     the disk and renamed. A process killed at any moment leaves either the old
//     state of the directory or the new one, and perhaps a temporary file, which
//     the next Open or Lead removes.
//  2. An older checkpoint is deleted only after a newer one is durable.
//  3. A file that was changed, cut or mixed from two is not taken for whole:
//     every byte is covered by a checksum or must have one given value.
//  4. The same State encodes to the same bytes.
//  5. Decoding allocates in proportion to the size of the file, whatever its
//     contents claim.
//  6. Once Lead of a term has returned, nothing that a Store of a lower term does
//     changes what readers see.
//
// The package starts no goroutine. It knows neither networks nor the protocol;
// it keeps the job specification as the JSON it is given.
package checkpoint
