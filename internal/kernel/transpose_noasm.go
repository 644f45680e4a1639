//go:build !amd64

package kernel

func transpose(dst []float32, row, panel int, x []float32, offsets []int) {
	transposePortable(dst, row, panel, x, offsets)
}

func addLanes(sum, x []float32, lanes, pixels, step int) {
	addLanesPortable(sum, x, lanes, pixels, step)
}
