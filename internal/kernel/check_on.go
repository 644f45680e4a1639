//go:build race || kernelcheck

package kernel

import (
	"fmt"
	"unsafe"
)

// checked says that arguments are checked: under the race detector and with
// the build tag kernelcheck.
const checked = true

// checkChain panics where Chain would read or write outside its arguments.
func checkChain(c, a, b []float32, t *Tile, blocks []Block) {
	if t.Rows < 1 || t.Rows > TileRows {
		panic(fmt.Sprintf("kernel: rows = %d, want 1 to %d", t.Rows, TileRows))
	}
	if t.Columns < 1 || t.Columns > TileColumns {
		panic(fmt.Sprintf("kernel: columns = %d, want 1 to %d", t.Columns, TileColumns))
	}
	if t.Far && (uintptr(unsafe.Pointer(&c[0]))%64 != 0 || t.RowC%Lanes != 0 || t.ColumnC%Lanes != 0) {
		panic("kernel: far results must begin at multiples of 64 bytes")
	}
	within("c", 0, (t.Rows-1)*t.RowC, (t.Columns-1)*t.ColumnC, 0, len(c))
	within("c", 0, (t.Rows-1)*t.RowC, (t.Columns-1)*t.ColumnC, Lanes-1, len(c))
	for i := range t.Rows {
		for w := range t.Columns {
			touchResult(c[i*t.RowC+w*t.ColumnC:][:Lanes])
		}
	}
	for i, block := range blocks {
		if block.K < 0 {
			panic(fmt.Sprintf("kernel: block %d has K = %d, want 0 or more", i, block.K))
		}
		if block.K > 0 {
			within("a", block.A, (t.Rows-1)*t.RowA, (block.K-1)*t.StepA, 0, len(a))
			within("b", block.B, (block.K-1)*t.StepB, (t.Columns-1)*t.ColumnB, 0, len(b))
			within("b", block.B, (block.K-1)*t.StepB, (t.Columns-1)*t.ColumnB, Lanes-1, len(b))
			touchOperand(a[block.A:][:1])
			touchOperand(b[block.B:][:Lanes])
		}
	}
}

// checkFrom panics where from has fewer values than t rows.
func checkFrom(t *Tile, from []float32) {
	within("from", 0, t.Rows-1, 0, 0, len(from))
	touchOperand(from[:t.Rows])
}

// checkTree panics where ChainTree would reach outside its stack.
func checkTree(t *Tile, blocks []Block, stack []float32) {
	if len(blocks) == 0 {
		panic("kernel: a tree without blocks")
	}
	if blocks[len(blocks)-1].Then == 0 {
		panic("kernel: the last chain of a tree has no end")
	}
	depth := 0
	for i, block := range blocks {
		if block.Then == 0 {
			continue
		}
		if depth -= block.Then - 1; block.Then < 0 || depth < 0 {
			panic(fmt.Sprintf("kernel: block %d takes %d sums from a stack of %d", i, block.Then-1, depth+block.Then-1))
		}
		if i < len(blocks)-1 {
			depth++
			within("stack", 0, depth*t.Values()-1, 0, 0, len(stack))
			touchResult(stack[:depth*t.Values()])
		}
	}
}

// within panics unless base plus any of x, y and z are all indices of n values.
func within(name string, base, x, y, z, n int) {
	lo, hi := base+min(x, 0)+min(y, 0)+min(z, 0), base+max(x, 0)+max(y, 0)+max(z, 0)
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

// checkUpdate panics where an operand is shorter than the results, or where these
// are far and do not begin at a line.
func checkUpdate(w2, v2, w, v, g []float32, far bool) {
	checkElements([][]float32{w2, v2}, [][]float32{w, v, g})
	if far && (uintptr(unsafe.Pointer(unsafe.SliceData(w2)))|uintptr(unsafe.Pointer(unsafe.SliceData(v2))))%64 != 0 {
		panic("kernel: far results must begin at multiples of 64 bytes")
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
