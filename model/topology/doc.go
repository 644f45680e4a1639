// Package topology writes a network down so that it can be run without the
// program that trained it: layers, shapes, preprocessing and names of classes,
// as one protobuf message and as the JSON of the same. With the parameters it
// is all that a prediction needs; docs/prediction.md describes the format.
//
// Invariants:
//  1. Build of what Of wrote is the same network: for equal parameters and
//     images it predicts the same bits.
//  2. Build looks nothing up: a topology of a network that this program does
//     not know, or knows otherwise, is run as it is written.
//  3. A file is whole or not there, and the same network gives the same bytes.
//  4. A file that was not written by this package makes Build return an error
//     or a graph of bounded size; it never panics.
//
// The package starts no goroutine.
package topology
