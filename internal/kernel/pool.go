package kernel

// Window is a rectangle of pixels of a map, each of them the values of a lane
// block: Lanes for each channel. Row and Column are the distances between pixels
// of rows, and of columns, in values; Pixel is the number of the first pixel and
// PixelRow the number of those from one row to the next.
type Window struct {
	Rows, Columns, Row, Column int
	Pixel, PixelRow            int
}

// MaxPool takes the largest values of a window, +0 being larger than -0, and the
// numbers of the pixels that they come from: of equal ones the first in row-major
// order, zeros of both signs being equal. A value is NaN where any in the window
// is; it counts as the first pixel's.
//
//	y, from (n)   x: a window's pixels of n values, n = len(y), a multiple of Lanes
//
// from may be nil. The window is not empty. y and from do not overlap x.
func MaxPool(y []float32, from []int32, x []float32, w *Window) {
	if checked {
		checkWindow(y, from, nil, x, w)
	}
	maxPool(y, from, x, w)
}

// MaxPoolBack computes the gradients of the input's pixel of that number: the sum,
// from +0, over the pixels of a window of the output, in row-major order, of the
// values of dy whose from is pixel.
//
//	dx (n)   dy, from: a window's pixels of n values, n = len(dx), a multiple of Lanes
//
// The window is not empty. dx overlaps neither dy nor from.
func MaxPoolBack(dx, dy []float32, from []int32, pixel int, w *Window) {
	if checked {
		checkWindow(dx, nil, from, dy, w)
	}
	maxPoolBack(dx, dy, from, pixel, w)
}

// AveragePool computes the sum of a window's values, from +0 and in row-major
// order, divided by count.
//
//	y (n)   x: a window's pixels of n values, n = len(y), a multiple of Lanes
//
// The window is not empty. y does not overlap x.
func AveragePool(y, x []float32, count float32, w *Window) {
	if checked {
		checkWindow(y, nil, nil, x, w)
	}
	averagePool(y, x, count, w)
}

// AveragePoolBack computes the gradients of a pixel of the input: the sum, from +0,
// over the pixels of a window of the output, in row-major order, of the values of
// dy divided by the count of their pixel.
//
//	dx (n)   dy: a window's pixels of n values, n = len(dx), a multiple of Lanes
//	counts: by number of pixel
//
// The window is not empty. dx does not overlap dy.
func AveragePoolBack(dx, dy, counts []float32, w *Window) {
	if checked {
		checkWindow(dx, nil, nil, dy, w)
		checkCounts(counts, w)
	}
	averagePoolBack(dx, dy, counts, w)
}

func maxPoolPortable(y []float32, from []int32, x []float32, w *Window) {
	copy(y, x)
	if from != nil {
		from = from[:len(y)]
		for i := range from {
			from[i] = int32(w.Pixel)
		}
	}
	for r := range w.Rows {
		for s := range w.Columns {
			pixel := x[r*w.Row+s*w.Column:][:len(y)]
			if from == nil {
				larger(y, pixel)
			} else {
				largest(y, from, pixel, int32(w.Pixel+r*w.PixelRow+s))
			}
		}
	}
	if from != nil {
		for i, v := range y {
			if v != v {
				from[i] = int32(w.Pixel)
			}
		}
	}
}

// largest replaces the values of y that are smaller than x's, and notes the
// pixel of x. Nothing branches: which value is larger can't be foretold.
func largest(y []float32, from []int32, x []float32, pixel int32) {
	from, x = from[:len(y)], x[:len(y)]
	for i, old := range y {
		v, at := max(old, x[i]), from[i]
		if v != old {
			at = pixel
		}
		y[i], from[i] = v, at
	}
}

func larger(y, x []float32) {
	x = x[:len(y)]
	for i, old := range y {
		y[i] = max(old, x[i])
	}
}

func maxPoolBackPortable(dx, dy []float32, from []int32, pixel int, w *Window) {
	clear(dx)
	for r := range w.Rows {
		for s := range w.Columns {
			at := r*w.Row + s*w.Column
			dy, from := dy[at:][:len(dx)], from[at:][:len(dx)]
			for i, v := range dx {
				sum := v + dy[i]
				// Not the sum with +0, which would turn -0 into +0.
				if from[i] != int32(pixel) {
					sum = v
				}
				dx[i] = sum
			}
		}
	}
}

func averagePoolPortable(y, x []float32, count float32, w *Window) {
	clear(y)
	for r := range w.Rows {
		for s := range w.Columns {
			pixel := x[r*w.Row+s*w.Column:][:len(y)]
			for i, v := range pixel {
				y[i] += v
			}
		}
	}
	for i := range y {
		y[i] /= count
	}
}

func averagePoolBackPortable(dx, dy, counts []float32, w *Window) {
	clear(dx)
	for r := range w.Rows {
		for s := range w.Columns {
			count := counts[w.Pixel+r*w.PixelRow+s]
			pixel := dy[r*w.Row+s*w.Column:][:len(dx)]
			for i, v := range pixel {
				dx[i] += v / count
			}
		}
	}
}
