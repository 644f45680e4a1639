package cpu

import (
	"testing"
	"unsafe"
)

func TestPartsAreAlignedAndApart(t *testing.T) {
	sizes := []int{1, 16, 17, 0, 5, 1 << 21}
	parts := make([][]float32, len(sizes))
	var a arena
	for i, n := range sizes {
		a.reserve(&parts[i], n)
	}
	a.allocate()
	for i, part := range parts {
		if len(part) != sizes[i] || cap(part) != sizes[i] {
			t.Errorf("part %d has %d values, room for %d, want %d", i, len(part), cap(part), sizes[i])
		}
		if sizes[i] > 0 && uintptr(unsafe.Pointer(&part[0]))%64 != 0 {
			t.Errorf("part %d begins at %p", i, &part[0])
		}
		for j := range part {
			if part[j] != 0 {
				t.Fatalf("value %d of part %d is %g: parts share memory", j, i, part[j])
			}
			part[j] = float32(i + 1)
		}
	}
}
