// Package kernel holds the innermost loops of training on a CPU: one matrix
// product, activations, pooling, local response normalisation, dropout masks,
// transposes, sums, the update of the parameters, conversions to 16 and 8 bits,
// and float32 functions.
//
// Invariants:
//  1. Every result is a function of the arguments alone, to the last bit: the
//     same in assembly and in plain Go, on every processor.
//  2. Each element of a product is one chain of fused multiply-adds in the order
//     of k. Lanes and rows split elements, never a chain.
//  3. All other arithmetic rounds each operation by itself; none of it is the
//     platform's own exp, log, pow or cos.
//
// Where sums are said to be rounded (Tile.Round, AddRound), each of them is
// rounded once more after its addition, to bfloat16, ties to even.
//
// The bits of NaNs are not part of this: a result that is NaN on one machine is
// NaN on all.
//
// # Forms
//
// Each kernel has a portable form in plain Go and, on amd64, two in assembly,
// written by tools/kernelgen: for AVX2 with FMA, and for AVX-512. The fastest
// that the machine can run is chosen at start; the environment variable
// MUSTER_KERNEL (portable, avx2, avx512) chooses another, and programs report a
// wrong value by Check.
//
// # Arguments
//
// Kernels check nothing, allocate nothing and return no error. The assembly
// reads and writes what it is told to, so callers check shapes when they plan
// and not in each call. Under the race detector, and with the build tag
// kernelcheck, every call checks its arguments first and panics where they reach
// outside a slice. The race detector does not see what assembly touches; there,
// each call touches the ends of its slices in Go for it to see.
//
// The package starts no goroutine. Its functions may run at the same time on
// results that do not overlap, Select excepted.
package kernel

//go:generate go run -C ../../tools ./kernelgen -set avx2 -out ../internal/kernel/avx2_amd64.s -stubs ../internal/kernel/avx2_amd64.go -pkg kernel
//go:generate go run -C ../../tools ./kernelgen -set avx512 -out ../internal/kernel/avx512_amd64.s -stubs ../internal/kernel/avx512_amd64.go -pkg kernel
