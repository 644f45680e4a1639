//go:build race || kernelcheck

package kernel

import "fmt"

// checked says that arguments are checked: under the race detector and with
// the build tag kernelcheck.
const checked = true

// checkChain panics where Chain would read or write outside its arguments.
func checkChain(c []float32, ldc, rows int, a []float32, rowA, stepA int, b []float32, blocks []Block) {
	if rows < 1 || rows > TileRows {
		panic(fmt.Sprintf("kernel: rows = %d, want 1 to %d", rows, TileRows))
	}
	within("c", 0, (rows-1)*ldc, Lanes-1, len(c))
	for i := range rows {
		touchResult(c[i*ldc:][:Lanes])
	}
	for i, block := range blocks {
		if block.K < 0 {
			panic(fmt.Sprintf("kernel: block %d has K = %d, want 0 or more", i, block.K))
		}
		if block.K > 0 {
			within("a", block.A, (rows-1)*rowA, (block.K-1)*stepA, len(a))
			within("b", block.B, (block.K-1)*Lanes, Lanes-1, len(b))
			touchOperand(a[block.A:][:1])
			touchOperand(b[block.B:][:block.K*Lanes])
		}
	}
}

// within panics unless base, base+x, base+y and base+x+y are all indices of n
// values.
func within(name string, base, x, y, n int) {
	lo, hi := base+min(x, 0)+min(y, 0), base+max(x, 0)+max(y, 0)
	if lo < 0 || hi >= n {
		panic(fmt.Sprintf("kernel: values %d to %d of %s are asked for, which has %d", lo, hi, name, n))
	}
}

// checkElements panics where an operand is shorter than the first of results.
func checkElements(results, operands [][]float32) {
	n := len(results[0])
	for _, s := range [][][]float32{results, operands} {
		for _, x := range s {
			if len(x) < n {
				panic(fmt.Sprintf("kernel: an operand has %d values, the result %d", len(x), n))
			}
		}
	}
	for _, x := range results {
		touchResult(x[:n])
	}
	for _, x := range operands {
		touchOperand(x[:n])
	}
}

// touchResult writes the ends of x as they are, for the race detector to see.
func touchResult(x []float32) {
	if n := len(x); n > 0 {
		first, last := x[0], x[n-1]
		x[0], x[n-1] = first, last
	}
}

// touchOperand reads the ends of x, for the race detector to see. It returns
// what it reads, so that the compiler does not leave it out.
//
//go:noinline
func touchOperand(x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	return x[0] + x[len(x)-1]
}
