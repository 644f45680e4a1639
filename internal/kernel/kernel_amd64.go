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
	case avx512:
		return supported(avx2) && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL
	}
	return false
}

func chain(c, a, b []float32, t *Tile, blocks []Block, start begin, from []float32) {
	switch {
	case active == portable:
		chainPortable(c, a, b, t, blocks, start, from)
	case active == avx2 || t.Pairs && !dotsPairs:
		chainNarrow(c, a, b, t, blocks, start, from)
	case t.Pairs:
		chainPairsAVX512(unsafe.SliceData(c), unsafe.SliceData(a), unsafe.SliceData(b), &t.Rows, words(blocks),
			t.Rows, t.Columns, len(blocks), int(start), unsafe.SliceData(from), nil)
	default:
		chainAVX512(unsafe.SliceData(c), unsafe.SliceData(a), unsafe.SliceData(b), &t.Rows, words(blocks),
			t.Rows, t.Columns, len(blocks), int(start), unsafe.SliceData(from), nil)
	}
}

// dotsPairs tells whether the processor multiplies pairs, with AVX512_BF16. Where
// it does not, they are taken apart, which gives the same bits.
var dotsPairs = cpu.X86.HasAVX512BF16

func chainTree(c, a, b []float32, t *Tile, blocks []Block, stack []float32) {
	switch {
	case active < avx512 || t.Pairs && !dotsPairs:
		chainTreeSteps(c, a, b, t, blocks, stack)
		return
	case t.Pairs:
		chainPairsAVX512(unsafe.SliceData(c), unsafe.SliceData(a), unsafe.SliceData(b), &t.Rows, words(blocks),
			t.Rows, t.Columns, len(blocks), int(fromZero), nil, unsafe.SliceData(stack))
		return
	}
	chainAVX512(unsafe.SliceData(c), unsafe.SliceData(a), unsafe.SliceData(b), &t.Rows, words(blocks),
		t.Rows, t.Columns, len(blocks), int(fromZero), nil, unsafe.SliceData(stack))
}

func fetch(x []float32, lines []int) {
	if len(lines) > 0 && active > portable {
		fetchAVX2(unsafe.SliceData(x), unsafe.SliceData(lines), len(lines))
	}
}

func fetchesLines(t *Tile) bool { return active == avx512 && (!t.Pairs || dotsPairs) }

// words returns the first word of blocks.
func words(blocks []Block) *int { return (*int)(unsafe.Pointer(unsafe.SliceData(blocks))) }

// narrowRows is the number of rows that AVX2's registers hold, and narrowPairs
// that of rows of pairs.
const (
	narrowRows  = 6
	narrowPairs = 4
)

// chainNarrow cuts a tile into columns and these into the fewest pieces, as
// equal as they can be, that chainAVX2 can hold.
func chainNarrow(c, a, b []float32, t *Tile, blocks []Block, start begin, from []float32) {
	most := narrowRows
	if t.Pairs {
		most = narrowPairs
	}
	pieces := (t.Rows + most - 1) / most
	for w := range t.Columns {
		for i := range pieces {
			first, end := i*t.Rows/pieces, (i+1)*t.Rows/pieces
			if t.Pairs {
				chainPairsAVX2(unsafe.SliceData(c), unsafe.SliceData(a), unsafe.SliceData(b), &t.Rows, words(blocks),
					first, end-first, w, len(blocks), int(start), unsafe.SliceData(from))
				continue
			}
			chainAVX2(unsafe.SliceData(c), unsafe.SliceData(a), unsafe.SliceData(b), &t.Rows, words(blocks),
				first, end-first, w, len(blocks), int(start), unsafe.SliceData(from))
		}
	}
}

// The elementwise functions hand whole vectors to the assembly and the rest,
// which begins at whole(n), to the portable form.

func whole(n int) int {
	switch active {
	case avx512:
		return n &^ 15
	case avx2:
		return n &^ 7
	}
	return 0
}

func add(dst, x, y []float32) {
	n := whole(len(dst))
	switch {
	case n == 0:
	case active == avx512:
		addAVX512(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), n)
	default:
		addAVX2(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), n)
	}
	addPortable(dst[n:], x[n:], y[n:])
}

func momentum(w2, v2, w, v, g []float32, scale, lr, mu, decay float32, far bool) bool {
	n, ok := whole(len(w2)), true
	pw2, pv2, pw, pv, pg := unsafe.SliceData(w2), unsafe.SliceData(v2), unsafe.SliceData(w), unsafe.SliceData(v), unsafe.SliceData(g)
	switch {
	case n == 0:
	case active == avx512 && far:
		ok = momentumFarAVX512(pw2, pv2, pw, pv, pg, n, scale, lr, mu, decay)
	case active == avx512:
		ok = momentumAVX512(pw2, pv2, pw, pv, pg, n, scale, lr, mu, decay)
	case far:
		ok = momentumFarAVX2(pw2, pv2, pw, pv, pg, n, scale, lr, mu, decay)
	default:
		ok = momentumAVX2(pw2, pv2, pw, pv, pg, n, scale, lr, mu, decay)
	}
	rest := momentumPortable(w2[n:], v2[n:], w[n:], v[n:], g[n:], scale, lr, mu, decay)
	return ok && rest
}

func nesterov(w2, v2, w, v, g []float32, scale, lr, mu, decay float32, far bool) bool {
	n, ok := whole(len(w2)), true
	pw2, pv2, pw, pv, pg := unsafe.SliceData(w2), unsafe.SliceData(v2), unsafe.SliceData(w), unsafe.SliceData(v), unsafe.SliceData(g)
	switch {
	case n == 0:
	case active == avx512 && far:
		ok = nesterovFarAVX512(pw2, pv2, pw, pv, pg, n, scale, lr, mu, decay)
	case active == avx512:
		ok = nesterovAVX512(pw2, pv2, pw, pv, pg, n, scale, lr, mu, decay)
	case far:
		ok = nesterovFarAVX2(pw2, pv2, pw, pv, pg, n, scale, lr, mu, decay)
	default:
		ok = nesterovAVX2(pw2, pv2, pw, pv, pg, n, scale, lr, mu, decay)
	}
	rest := nesterovPortable(w2[n:], v2[n:], w[n:], v[n:], g[n:], scale, lr, mu, decay)
	return ok && rest
}

func finite(x []float32) bool {
	n := whole(len(x))
	ok := true
	switch {
	case n == 0:
	case active == avx512:
		ok = finiteAVX512(unsafe.SliceData(x), n)
	default:
		ok = finiteAVX2(unsafe.SliceData(x), n)
	}
	return ok && finitePortable(x[n:])
}
