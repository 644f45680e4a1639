package kernel

import (
	"unsafe"

	"golang.org/x/sys/cpu"
)

// The functions below choose by a comparison and not by a function variable:
// what is passed to a function variable escapes to the heap.

func supported(l level) bool {
	switch l {
	case portable:
		return true
	case avx2:
		return cpu.X86.HasAVX2 && cpu.X86.HasFMA
	}
	return false
}

func chain(c []float32, ldc, rows int, a []float32, rowA, stepA int, b []float32, blocks []Block, zero bool) {
	if active < avx2 {
		chainPortable(c, ldc, rows, a, rowA, stepA, b, blocks, zero)
		return
	}
	chainAVX2(unsafe.SliceData(c), ldc, rows, unsafe.SliceData(a), rowA, stepA, unsafe.SliceData(b),
		(*int)(unsafe.Pointer(unsafe.SliceData(blocks))), len(blocks), zero)
}

// The elementwise functions hand whole vectors to the assembly and the rest,
// which begins at whole(n), to the portable form.

func whole(n int) int {
	if active < avx2 {
		return 0
	}
	return n &^ 7
}

func add(dst, x, y []float32) {
	n := whole(len(dst))
	if n > 0 {
		addAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), n)
	}
	addPortable(dst[n:], x[n:], y[n:])
}

func momentum(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) {
	n := whole(len(w2))
	if n > 0 {
		momentumAVX2(unsafe.SliceData(w2), unsafe.SliceData(v2), unsafe.SliceData(w), unsafe.SliceData(v), unsafe.SliceData(g), n, scale, lr, mu, decay)
	}
	momentumPortable(w2[n:], v2[n:], w[n:], v[n:], g[n:], scale, lr, mu, decay)
}

func nesterov(w2, v2, w, v, g []float32, scale, lr, mu, decay float32) {
	n := whole(len(w2))
	if n > 0 {
		nesterovAVX2(unsafe.SliceData(w2), unsafe.SliceData(v2), unsafe.SliceData(w), unsafe.SliceData(v), unsafe.SliceData(g), n, scale, lr, mu, decay)
	}
	nesterovPortable(w2[n:], v2[n:], w[n:], v[n:], g[n:], scale, lr, mu, decay)
}

func finite(x []float32) bool {
	n := whole(len(x))
	return (n == 0 || finiteAVX2(unsafe.SliceData(x), n)) && finitePortable(x[n:])
}
