package driver

import (
	"fmt"
	"slices"
)

// Error is what a call of the driver came to.
type Error struct {
	Call   string // cuMemAlloc_v2
	Code   int
	Name   string // CUDA_ERROR_OUT_OF_MEMORY
	Device int    // -1: none yet
}

func (e *Error) Error() string {
	if e.Device < 0 {
		return fmt.Sprintf("%s: %s (%d)", e.Call, e.Name, e.Code)
	}
	return fmt.Sprintf("GPU %d: %s: %s (%d)", e.Device, e.Call, e.Name, e.Code)
}

// Codes that mean something to this package (cuda.h, CUresult).
const (
	codeOutOfMemory = 2
	codeNoDevice    = 100
)

// sticky are the codes after which the context is lost: the GPU has met an address, an
// instruction or a limit at which it gave a kernel up.
var sticky = []int{214, 220, 700, 702, 709, 714, 715, 716, 717, 718, 719, 721}

// Sticky tells whether nothing can be done in this context any more: the process has to end.
func (e *Error) Sticky() bool { return slices.Contains(sticky, e.Code) }

// OutOfMemory is that a GPU has less memory than is asked for.
type OutOfMemory struct {
	Device            int
	Asked, Free, Size uint64 // bytes
}

func (e *OutOfMemory) Error() string {
	return fmt.Sprintf("GPU %d: %s of memory were asked for, %s of %s are free: a smaller batch needs less, and other processes may be using it", e.Device, megabytes(e.Asked), megabytes(e.Free), megabytes(e.Size))
}

func megabytes(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// Unusable is why there are no GPUs to be had, and what to do.
type Unusable struct{ Why string }

func (e *Unusable) Error() string { return e.Why }

func unusable(format string, args ...any) error { return &Unusable{fmt.Sprintf(format, args...)} }

// CompileError is that the driver does not take a text of PTX.
type CompileError struct {
	Module, Log string
	Err         error
}

func (e *CompileError) Error() string {
	return fmt.Sprintf("kernels of %s: %v: %s", e.Module, e.Err, e.Log)
}

func (e *CompileError) Unwrap() error { return e.Err }
