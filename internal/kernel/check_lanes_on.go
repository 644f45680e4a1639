//go:build race || kernelcheck

package kernel

import "fmt"

// checkDraw panics where DrawMasks would draw for lanes that there are not.
func checkDraw(masks []uint16, index []uint32, threshold uint32) {
	if len(index) > Lanes {
		panic(fmt.Sprintf("kernel: %d lanes, want 0 to %d", len(index), Lanes))
	}
	if threshold > 1<<16 {
		panic(fmt.Sprintf("kernel: threshold = %d, want 0 to %d", threshold, 1<<16))
	}
	if n := len(masks); n > 0 {
		first, last := masks[0], masks[n-1]
		masks[0], masks[n-1] = first, last
	}
}

// checkMasks panics where ApplyMasks would read or write outside its arguments.
func checkMasks(dst, src []float32, masks []uint16, step int) {
	if len(dst)%Lanes != 0 {
		panic(fmt.Sprintf("kernel: the result has %d values, want a multiple of %d", len(dst), Lanes))
	}
	checkElements([][]float32{dst}, [][]float32{src})
	if n := len(dst) / Lanes; n > 0 {
		within("masks", 0, (n-1)*step, 0, 0, len(masks))
	}
}

// checkTranspose panics where Transpose would read or write outside its
// arguments.
func checkTranspose(dst []float32, row, panel int, x []float32, offsets []int) {
	if len(offsets) == 0 {
		return
	}
	within("dst", 0, (len(offsets)-1)/Lanes*panel, (Lanes-1)*row, Lanes-1, len(dst))
	touchResult(dst[:(len(offsets)-1)/Lanes*panel+(Lanes-1)*row+Lanes])
	for _, at := range offsets {
		within("x", at, Lanes-1, 0, 0, len(x))
		touchOperand(x[at:][:Lanes])
	}
}

// checkLanes panics where AddLanes would read outside its arguments.
func checkLanes(sum, x []float32, lanes, pixels, step int) {
	if lanes < 0 || lanes > Lanes {
		panic(fmt.Sprintf("kernel: lanes = %d, want 0 to %d", lanes, Lanes))
	}
	if len(sum) > Lanes {
		panic(fmt.Sprintf("kernel: %d sums, want 0 to %d", len(sum), Lanes))
	}
	if len(sum) == 0 || lanes == 0 || pixels <= 0 {
		return
	}
	within("x", 0, (pixels-1)*step, (len(sum)-1)*Lanes, lanes-1, len(x))
	touchResult(sum)
	touchOperand(x[:(pixels-1)*step+(len(sum)-1)*Lanes+lanes])
}

// checkConvert panics where an operand has fewer values than the result.
func checkConvert(result, operand int) {
	if operand < result {
		panic(fmt.Sprintf("kernel: an operand has %d values, want %d", operand, result))
	}
}
