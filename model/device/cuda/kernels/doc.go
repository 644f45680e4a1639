// Package kernels is what runs on GPUs: CUDA C, and the PTX that clang makes of it, which
// every driver from CUDA 11 on compiles for its GPU, from sm_80 on.
//
// A kernel is one file's matter: update.cu (the rule of momentum, sums of gradients,
// bfloat16s), dropout.cu, layers.cu (pooling, normalisation, activations), loss.cu, product.cu
// (matrices), convolution.cu. muster.cuh is what all need. There are no floating-point
// atomics, and every sum has one order, so the same launch gives the same bits; where a
// kernel's comment says so, they are those of the CPU.
//
// The PTX is committed, and a test compares the hash of its sources; build.sh makes it.
// Tests run the PTX itself, by internal/ptx, which also shows that no two threads write
// the same, or read what another writes.
package kernels

import "embed"

//go:embed *.ptx
var files embed.FS

// PTX returns the text of a file: convolution, update, dropout, layers, loss or product.
func PTX(name string) (string, error) {
	text, err := files.ReadFile(name + ".ptx")
	return string(text), err
}

// Names are the files.
func Names() []string {
	return []string{"convolution", "dropout", "layers", "loss", "product", "update"}
}
