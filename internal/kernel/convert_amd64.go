package kernel

import "unsafe"

func toBfloat16(dst []uint16, x []float32) {
	n := whole(len(dst))
	switch {
	case n == 0:
	case active == avx512:
		toBfloat16AVX512(unsafe.SliceData(dst), unsafe.SliceData(x), n)
	default:
		toBfloat16AVX2(unsafe.SliceData(dst), unsafe.SliceData(x), n)
	}
	toBfloat16Portable(dst[n:], x[n:])
}

func fromBfloat16(dst []float32, x []uint16) {
	n := whole(len(dst))
	switch {
	case n == 0:
	case active == avx512:
		fromBfloat16AVX512(unsafe.SliceData(dst), unsafe.SliceData(x), n)
	default:
		fromBfloat16AVX2(unsafe.SliceData(dst), unsafe.SliceData(x), n)
	}
	fromBfloat16Portable(dst[n:], x[n:])
}

func magnitude(x []float32) uint32 {
	n := whole(len(x))
	var most uint32
	switch {
	case n == 0:
	case active == avx512:
		most = magnitudeAVX512(unsafe.SliceData(x), n)
	default:
		most = magnitudeAVX2(unsafe.SliceData(x), n)
	}
	return max(most, magnitudePortable(x[n:]))
}

func toInt8(q []int8, x []float32, scale float32) {
	n := whole(len(q))
	switch {
	case n == 0:
	case active == avx512:
		toInt8AVX512(unsafe.SliceData(q), unsafe.SliceData(x), n, scale)
	default:
		toInt8AVX2(unsafe.SliceData(q), unsafe.SliceData(x), n, scale)
	}
	toInt8Portable(q[n:], x[n:], scale)
}

func fromInt8(dst []float32, q []int8, scale float32) {
	n := whole(len(dst))
	switch {
	case n == 0:
	case active == avx512:
		fromInt8AVX512(unsafe.SliceData(dst), unsafe.SliceData(q), n, scale)
	default:
		fromInt8AVX2(unsafe.SliceData(dst), unsafe.SliceData(q), n, scale)
	}
	fromInt8Portable(dst[n:], q[n:], scale)
}
