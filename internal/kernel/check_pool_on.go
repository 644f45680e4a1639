//go:build race || kernelcheck

package kernel

import "fmt"

// checkWindow panics where a kernel over a window would read or write outside
// its arguments: a result and what may stand beside it, what is read beside x,
// and x.
func checkWindow(y []float32, from, read []int32, x []float32, w *Window) {
	n := len(y)
	if n%Lanes != 0 {
		panic(fmt.Sprintf("kernel: a pixel of %d values, want a multiple of %d", n, Lanes))
	}
	if w.Rows < 1 || w.Columns < 1 {
		panic(fmt.Sprintf("kernel: a window of %dx%d pixels, want one or more", w.Rows, w.Columns))
	}
	if n == 0 {
		return
	}
	within("x", 0, (w.Rows-1)*w.Row, (w.Columns-1)*w.Column, 0, len(x))
	within("x", 0, (w.Rows-1)*w.Row, (w.Columns-1)*w.Column, n-1, len(x))
	if from != nil {
		within("from", 0, n-1, 0, 0, len(from))
		from[0], from[n-1] = -1, -1
	}
	if read != nil {
		within("from", 0, (w.Rows-1)*w.Row, (w.Columns-1)*w.Column, n-1, len(read))
	}
	touchResult(y)
	touchOperand(x[:(w.Rows-1)*w.Row+(w.Columns-1)*w.Column+n])
}

// checkCounts panics where counts has none for some pixel of w.
func checkCounts(counts []float32, w *Window) {
	within("counts", w.Pixel, (w.Rows-1)*w.PixelRow, w.Columns-1, 0, len(counts))
}

// checkResponse panics where a pixel of n values can't be normalised.
func checkResponse(n int, r *Response) {
	if n%Lanes != 0 {
		panic(fmt.Sprintf("kernel: a pixel of %d values, want a multiple of %d", n, Lanes))
	}
	if r.Before < 0 || r.After < 0 {
		panic(fmt.Sprintf("kernel: a window of %d channels before and %d after its centre, want 0 or more", r.Before, r.After))
	}
}
