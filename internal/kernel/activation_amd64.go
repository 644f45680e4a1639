package kernel

import "unsafe"

func relu(y, x []float32) {
	n := whole(len(y))
	switch {
	case n == 0:
	case active == avx512:
		reluAVX512(unsafe.SliceData(y), unsafe.SliceData(x), n)
	default:
		reluAVX2(unsafe.SliceData(y), unsafe.SliceData(x), n)
	}
	reluPortable(y[n:], x[n:])
}

func reluBack(dx, dy, y []float32) {
	n := whole(len(dx))
	switch {
	case n == 0:
	case active == avx512:
		reluBackAVX512(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(y), n)
	default:
		reluBackAVX2(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(y), n)
	}
	reluBackPortable(dx[n:], dy[n:], y[n:])
}

func leakyReLU(y, x []float32, slope float32) {
	n := whole(len(y))
	switch {
	case n == 0:
	case active == avx512:
		leakyReLUAVX512(unsafe.SliceData(y), unsafe.SliceData(x), n, slope)
	default:
		leakyReLUAVX2(unsafe.SliceData(y), unsafe.SliceData(x), n, slope)
	}
	leakyReLUPortable(y[n:], x[n:], slope)
}

func leakyReLUBack(dx, dy, y []float32, slope float32) {
	n := whole(len(dx))
	switch {
	case n == 0:
	case active == avx512:
		leakyReLUBackAVX512(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(y), n, slope)
	default:
		leakyReLUBackAVX2(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(y), n, slope)
	}
	leakyReLUBackPortable(dx[n:], dy[n:], y[n:], slope)
}
