// Package safetensors writes and reads files of named float32 tensors in the
// safetensors format, version 0.x, which PyTorch's users exchange weights in:
//
//	8 bytes   length n of the header, little-endian
//	n bytes   JSON: {"__metadata__": {text: text}, name: {"dtype", "shape", "data_offsets": [begin, end]}, ...}
//	          filled with spaces to a multiple of 8
//	          values, row-major, little-endian, without gaps; offsets count from here
//
// Invariants:
//  1. The same tensors and metadata give the same bytes.
//  2. Every value of a file belongs to exactly one tensor, as the format demands.
//  3. Reading allocates in proportion to the size of the file, whatever its
//     header claims.
//
// The package starts no goroutine.
package safetensors
