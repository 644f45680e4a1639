package kernel

import "unsafe"

func round(dst, x []float32) {
	n := whole(len(dst))
	switch {
	case n == 0:
	case active == avx512:
		roundAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), n)
	default:
		roundAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), n)
	}
	roundPortable(dst[n:], x[n:])
}

func addRound(dst, x, y []float32) {
	n := whole(len(dst))
	switch {
	case n == 0:
	case active == avx512:
		addRoundAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), n)
	default:
		addRoundAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), n)
	}
	addRoundPortable(dst[n:], x[n:], y[n:])
}
