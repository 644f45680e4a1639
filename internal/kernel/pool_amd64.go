package kernel

import "unsafe"

func maxPool(y []float32, from []int32, x []float32, w *Window) {
	switch {
	case active == portable || len(y) == 0:
		maxPoolPortable(y, from, x, w)
	case active == avx512:
		maxPoolAVX512(unsafe.SliceData(y), unsafe.SliceData(from), unsafe.SliceData(x), &w.Rows, len(y))
	default:
		maxPoolAVX2(unsafe.SliceData(y), unsafe.SliceData(from), unsafe.SliceData(x), &w.Rows, len(y))
	}
}

func maxPoolBack(dx, dy []float32, from []int32, pixel int, w *Window) {
	switch {
	case active == portable || len(dx) == 0:
		maxPoolBackPortable(dx, dy, from, pixel, w)
	case active == avx512:
		maxPoolBackAVX512(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(from), &w.Rows, len(dx), int32(pixel))
	default:
		maxPoolBackAVX2(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(from), &w.Rows, len(dx), int32(pixel))
	}
}

func averagePool(y, x []float32, count float32, w *Window) {
	switch {
	case active == portable || len(y) == 0:
		averagePoolPortable(y, x, count, w)
	case active == avx512:
		averagePoolAVX512(unsafe.SliceData(y), unsafe.SliceData(x), &w.Rows, len(y), count)
	default:
		averagePoolAVX2(unsafe.SliceData(y), unsafe.SliceData(x), &w.Rows, len(y), count)
	}
}

func averagePoolBack(dx, dy, counts []float32, w *Window) {
	switch {
	case active == portable || len(dx) == 0:
		averagePoolBackPortable(dx, dy, counts, w)
	case active == avx512:
		averagePoolBackAVX512(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(counts[w.Pixel:]), &w.Rows, len(dx))
	default:
		averagePoolBackAVX2(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(counts[w.Pixel:]), &w.Rows, len(dx))
	}
}
