package cpu

import "github.com/muster-train/muster/internal/kernel"

// farValues is how many weights are so many that they come from memory.
const farValues = 1 << 20

// ahead is what to fetch of a layer's weights while those before them are at
// work, so that they are near when their turn comes: the lines of a number of
// rows, as distances from the first value. It is empty where the weights are few
// enough to be near anyway.
//
// Fetching all at once would keep the product waiting behind it: memory answers
// a dozen or so requests at a time. So the kernel asks for a line every few steps.
type ahead struct {
	lines []int // in bytes, and some more of them, since a product may ask for more than its share
	count int

	rows, distance, width int // of what lines is about; width is the values wanted of each row
}

// newAhead is for rows at a distance of values, of which up to width are wanted.
func newAhead(weights, rows, distance, width int) ahead {
	a := ahead{rows: rows, distance: distance}
	if weights >= farValues {
		a.lines = make([]int, 0, rows*((width+lanes-1)/lanes)+segmentValues/kernel.LineSteps)
		a.narrow(width)
	}
	return a
}

// narrow sets how many values are wanted of each row, at most those of newAhead.
func (a *ahead) narrow(width int) {
	if a.width == width || cap(a.lines) == 0 {
		return
	}
	a.width, a.lines = width, a.lines[:0]
	for row := range a.rows {
		for at := 0; at < width; at += lanes {
			a.lines = append(a.lines, (row*a.distance+at)*4)
		}
	}
	a.count = len(a.lines)
	for range segmentValues / kernel.LineSteps {
		a.lines = append(a.lines, a.lines[a.count-1])
	}
}

// fetch has a product of that many steps fetch the i-th of n shares of the lines
// from next on, or fetches them itself where the kernel doesn't, or where they
// are too many for so few steps. Without next there is nothing to fetch.
func (a *ahead) fetch(shape *kernel.Tile, next []float32, i, n, steps int) {
	shape.Next, shape.Lines = nil, nil
	if a.count == 0 || len(next) == 0 {
		return
	}
	first, end := a.count*i/n, a.count*(i+1)/n
	if shape.FetchesLines() && end-first <= steps/kernel.LineSteps {
		shape.Next, shape.Lines = &next[0], &a.lines[first]
		return
	}
	kernel.Fetch(next, a.lines[first:end])
}

// nextRows returns the weights from where the tile after one of the unit, or
// the first of the next segment, begins; nil after the last.
func (f *product) nextRows(w []float32, t0, t1, tile, s int) []float32 {
	if tile++; tile == t1-t0 {
		tile, s = 0, s+1
	}
	if s == f.segments.count {
		return nil
	}
	first, _ := f.segments.bounds(s)
	return w[f.tiles[t0+tile].first*f.segments.length+first:]
}

// nextStrip returns the weights from where the strip of some tiles begins whose
// first place on the backward axis is given; nil where there is none. Where a
// strip goes on at another tap, what is fetched from there on is of no use.
func (l *matmul) nextStrip(tiles []tile, first int) []float32 {
	if first >= l.back.segments.length {
		return nil
	}
	at := 0
	if l.p.bf16() {
		at, _ = l.both(tiles[0], first)
	} else {
		at = l.factor(tiles[0], first)
	}
	return l.weights()[at:]
}
