//go:build !race && !kernelcheck

package kernel

// checked says that arguments are checked, which takes the race detector or
// the build tag kernelcheck.
const checked = false

func checkChain(c []float32, ldc, rows int, a []float32, rowA, stepA int, b []float32, blocks []Block) {
}

func checkElements(results, operands [][]float32) {}
