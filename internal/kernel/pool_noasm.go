//go:build !amd64

package kernel

func maxPool(y []float32, from []int32, x []float32, w *Window) { maxPoolPortable(y, from, x, w) }

func maxPoolBack(dx, dy []float32, from []int32, pixel int, w *Window) {
	maxPoolBackPortable(dx, dy, from, pixel, w)
}

func averagePool(y, x []float32, count float32, w *Window) { averagePoolPortable(y, x, count, w) }

func averagePoolBack(dx, dy, counts []float32, w *Window) {
	averagePoolBackPortable(dx, dy, counts, w)
}
