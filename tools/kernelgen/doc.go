// Command kernelgen writes the assembly of internal/kernel, with avo. One run
// writes one file for one instruction set and the Go declarations that go with
// it:
//
//	go run ./kernelgen -set avx2 -out FILE.s -stubs FILE.go -pkg kernel
//
// go generate in internal/kernel runs it. The files it writes are committed.
package main
