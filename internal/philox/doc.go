// Package philox draws counter-based random numbers: every number is a pure
// function of a seed and a place, so that any worker, on any device, in any
// order, draws the same ones.
//
// The generator is Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel
// Random Numbers: As Easy as 1, 2, 3" (2011): 128 random bits from a counter of
// four words and a key of two. Here the key is the seed, and the counter is
// (block, purpose, major, minor): what the numbers are for, and the step, epoch
// or image they belong to.
//
// The package keeps no state but a Stream's position, starts no goroutine, and
// stands below all others: what it returns is part of the promise of equal
// bits, so it must never change.
package philox
