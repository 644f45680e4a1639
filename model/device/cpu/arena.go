package cpu

import (
	"github.com/muster-train/muster/model/params"
)

// arena hands out the parts of one allocation. Parts are asked for first and
// exist after allocate; each begins at a multiple of 64 bytes and holds zeros.
type arena struct {
	parts []part
	size  int
}

type part struct {
	dst   *[]float32
	first int
	n     int
}

// reserve sets *dst to n values when allocate runs.
func (a *arena) reserve(dst *[]float32, n int) {
	a.parts = append(a.parts, part{dst, a.size, n})
	a.size += (n + 15) &^ 15
}

// allocate makes the memory and hands out the parts.
func (a *arena) allocate() {
	v := params.NewVector(a.size)
	for _, p := range a.parts {
		*p.dst = v[p.first : p.first+p.n : p.first+p.n]
	}
}
