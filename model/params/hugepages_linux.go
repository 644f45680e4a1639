package params

import (
	"syscall"
	"unsafe"
)

// adviseHuge asks for huge pages behind v: products stride through weights, and
// with small pages each row costs a walk through the page table; an update of all
// parameters walks through as many vectors at once. What the
// system does with the advice changes no result, so its answer is not needed.
func adviseHuge(v []float32) {
	const page = 2 << 20
	if len(v)*4 < 2*page {
		return
	}
	b := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*4)
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % page
	_ = syscall.Madvise(b[skip:skip+(uintptr(len(b))-skip)&^(page-1)], syscall.MADV_HUGEPAGE)
}
