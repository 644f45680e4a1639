// Package ptx reads PTX, the assembly language of NVIDIA's GPUs, and runs its kernels
// on the CPU: slowly, and looking at everything that a GPU would let pass. It is there
// for tests, so that kernels that ship are tested where there is no GPU, by the very
// text that ships.
//
// What it takes is what clang makes of CUDA C for sm_80, and the instructions of tensor
// cores; Parse refuses anything else by its line. Source of all meanings: NVIDIA's PTX
// ISA manual, version 7.0.
//
// A run ends with a Fault, which names kernel, block, thread, line and instruction, where
// a thread
//   - reads or writes outside of what was allocated, or not aligned to the access;
//   - reads what nobody has written;
//   - reads or writes what another thread of the launch writes, without a barrier between
//     the two that both take part in (so a launch without faults has one result, whatever
//     the order in which threads run);
//   - waits at a barrier, or takes part in an instruction of its whole warp, while another
//     one has ended or waits somewhere else;
//   - runs for longer than any kernel should.
//
// Arguments are checked for number and width. Rounding is that of the instruction:
// fma.rn.f32 rounds once, ex2.approx and lg2.approx are as exact as float32 is, which a GPU
// need not be, and mma sums in float64 what a GPU sums in an order of its own.
//
// Data flow: Parse -> Module -> Kernel -> Run on a Memory. Blocks run one after the other,
// threads of a block by turns from barrier to barrier, all in the caller's goroutine.
package ptx
