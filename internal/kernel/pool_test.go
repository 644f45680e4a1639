package kernel

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomWindow draws a window over pixels of n values that need not touch, and
// returns the length of what it looks at.
func randomWindow(r *rand.Rand, n int) (w Window, length int) {
	w = Window{Rows: 1 + r.IntN(4), Columns: 1 + r.IntN(4), Pixel: r.IntN(50)}
	w.Column = n + Lanes*r.IntN(3)
	w.Row = w.Column*w.Columns + r.IntN(40)
	w.PixelRow = w.Columns + r.IntN(5)
	return w, (w.Rows-1)*w.Row + (w.Columns-1)*w.Column + n
}

// each calls f with the place and the number of each pixel, in row-major order.
func (w *Window) each(f func(at, pixel int)) {
	for r := range w.Rows {
		for s := range w.Columns {
			f(r*w.Row+s*w.Column, w.Pixel+r*w.PixelRow+s)
		}
	}
}

// naiveMaxPool is the definition of MaxPool for one value of a pixel.
func naiveMaxPool(x []float32, w *Window) (y float32, from int32) {
	y, from = x[0], int32(w.Pixel)
	nan := false
	w.each(func(at, pixel int) {
		v := x[at]
		nan = nan || v != v
		if v > y {
			from = int32(pixel)
		}
		y = max(y, v)
	})
	if nan {
		from = int32(w.Pixel)
	}
	return y, from
}

func TestPoolsFollowTheirDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(33, 34))
		for draw := range draws(2000) {
			n := Lanes * (1 + r.IntN(11))
			w, length := randomWindow(r, n)
			x := marked(r, length, draw%2 == 0)
			if draw%5 == 0 { // hardly anything but equal values
				for i := range x {
					x[i] = []float32{0, -x[i] * 0, -1, 1, 1}[r.IntN(5)]
				}
			}
			counts := make([]float32, w.Pixel+(w.Rows-1)*w.PixelRow+w.Columns)
			for i := range counts {
				counts[i] = float32(1 + r.IntN(9))
			}
			from := make([]int32, length)
			for i := range from {
				from[i] = int32(r.IntN(2))
			}
			most, back, mean, meanBack := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
			winners := make([]int32, n)
			for i := range n {
				most[i], winners[i] = naiveMaxPool(x[i:], &w)
				w.each(func(at, pixel int) {
					mean[i] = sum(mean[i], x[i+at])
					meanBack[i] = sum(meanBack[i], float32(float64(x[i+at])/float64(counts[pixel])))
					if from[i+at] == 1 {
						back[i] = sum(back[i], x[i+at])
					}
				})
				mean[i] = float32(float64(mean[i]) / 7)
			}

			// One value more than the result has must stay.
			what := fmt.Sprintf("%d values, %+v", n, w)
			y, gotFrom := filled(n+1), make([]int32, n+1)
			end := y[n]
			check := func(name string, want []float32) {
				t.Helper()
				compare(t, name+" of "+what, y, append(slices.Clone(want), end))
			}
			MaxPool(y[:n], nil, x, &w)
			check("MaxPool without from", most)
			MaxPool(y[:n], gotFrom[:n], x, &w)
			check("MaxPool", most)
			if !slices.Equal(gotFrom, append(winners, 0)) {
				t.Fatalf("MaxPool of %s: from %v, want %v", what, gotFrom, winners)
			}
			MaxPoolBack(y[:n], x, from, 1, &w)
			check("MaxPoolBack", back)
			AveragePool(y[:n], x, 7, &w)
			check("AveragePool", mean)
			AveragePoolBack(y[:n], x, counts, &w)
			check("AveragePoolBack", meanBack)
		}
	})
}
