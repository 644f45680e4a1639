package kernel

import "unsafe"

// lrn leaves powers but that of 3/4 to the portable form.
func lrn(y, d, f, x []float32, r *Response) {
	switch {
	case active == portable || len(y) == 0 || r.Beta != 0.75:
		lrnPortable(y, d, f, x, r)
	case active == avx512:
		lrnAVX512(unsafe.SliceData(y), unsafe.SliceData(d), unsafe.SliceData(f), unsafe.SliceData(x),
			len(y)/Lanes, r.Before, r.After, r.K, r.Alpha)
	default:
		lrnAVX2(unsafe.SliceData(y), unsafe.SliceData(d), unsafe.SliceData(f), unsafe.SliceData(x),
			len(y)/Lanes, r.Before, r.After, r.K, r.Alpha)
	}
}

func lrnBack(dx, dy, x, d, f, q []float32, r *Response) {
	switch {
	case active == portable || len(dx) == 0:
		lrnBackPortable(dx, dy, x, d, f, q, r)
	case active == avx512:
		lrnBackAVX512(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(x), unsafe.SliceData(d), unsafe.SliceData(f),
			unsafe.SliceData(q), len(dx)/Lanes, r.Before, r.After, r.twice())
	default:
		lrnBackAVX2(unsafe.SliceData(dx), unsafe.SliceData(dy), unsafe.SliceData(x), unsafe.SliceData(d), unsafe.SliceData(f),
			unsafe.SliceData(q), len(dx)/Lanes, r.Before, r.After, r.twice())
	}
}
