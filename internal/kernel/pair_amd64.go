package kernel

import "unsafe"

func pairs(dst, upper, lower []float32) {
	n := whole(len(dst))
	switch {
	case n == 0:
	case active == avx512:
		pairAVX512(unsafe.SliceData(dst), unsafe.SliceData(upper), unsafe.SliceData(lower), n)
	default:
		pairAVX2(unsafe.SliceData(dst), unsafe.SliceData(upper), unsafe.SliceData(lower), n)
	}
	pairsPortable(dst[n:], upper[n:], lower[n:])
}

func pairNext(dst, x []float32) {
	n := whole(len(x))
	switch {
	case n == 0:
	case active == avx512:
		pairNextAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), n)
	default:
		pairNextAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), n)
	}
	pairNextPortable(dst[n/2:], x[n:])
}
