package cpu

import (
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// TestSharesCoverAllLines follows what products of a unit are told to fetch: each
// line of the rows once, and never beyond what is told.
func TestSharesCoverAllLines(t *testing.T) {
	if err := kernel.Select("avx512"); err != nil {
		t.Skip(err)
	}
	defer kernel.Select("")
	const rows, distance, steps = 14, 4096, 384
	weights := make([]float32, rows*distance)
	a := newAhead(farValues, rows, distance, steps)
	for _, width := range []int{384, 100, 16, 384} {
		a.narrow(width)
		for _, n := range []int{4, 5, 16} {
			seen := map[int]int{}
			for i := range n {
				var shape kernel.Tile
				a.fetch(&shape, weights, i, n, steps)
				if shape.Next != &weights[0] {
					t.Fatalf("width %d, share %d of %d: not fetched by the product", width, i, n)
				}
				first := a.count * i / n
				if shape.Lines != &a.lines[first] || first+steps/kernel.LineSteps > len(a.lines) {
					t.Fatalf("width %d, share %d of %d: lines from %d of %d", width, i, n, first, len(a.lines))
				}
				for _, line := range a.lines[first : a.count*(i+1)/n] {
					seen[line]++
				}
			}
			if want := rows * ((width + lanes - 1) / lanes); len(seen) != want {
				t.Errorf("width %d in %d shares: %d lines, want %d", width, n, len(seen), want)
			}
			for line := range seen {
				if row, at := line/4/distance, line/4%distance; row >= rows || at >= width || at%lanes != 0 || seen[line] != 1 {
					t.Errorf("width %d in %d shares: row %d, value %d is fetched %d times", width, n, row, at, seen[line])
				}
			}
		}
	}
	// Too many lines for so few steps: they are fetched at once.
	shape := kernel.Tile{Next: &weights[0]}
	if a.fetch(&shape, weights, 0, 1, steps); shape.Next != nil {
		t.Error("a product is told to fetch more lines than it has steps for")
	}
	// Nothing follows, or the weights are few.
	shape.Next = &weights[0]
	if a.fetch(&shape, nil, 0, 4, steps); shape.Next != nil {
		t.Error("nothing is fetched after the last tile, and yet it is")
	}
	few := newAhead(farValues-1, rows, distance, steps)
	few.narrow(16)
	shape.Next = &weights[0]
	if few.fetch(&shape, weights, 0, 4, steps); shape.Next != nil || few.count != 0 {
		t.Error("few weights are fetched")
	}
}

// TestWhatIsFetchedIsWhatFollows compares where the next tile and the next strip
// are said to begin with where they are read.
func TestWhatIsFetchedIsWhatFollows(t *testing.T) {
	for _, precision := range []device.Precision{device.F32, device.BF16} {
		in, out := device.Shape{C: 1200, H: 1, W: 1}, device.Shape{C: 1000, H: 1, W: 1}
		n := in.C * out.C
		op := &device.Dense{Place: device.Place{In: in, Out: out}, Weight: params.Range{First: 0, End: n}, Bias: params.Range{First: n, End: n + out.C}}
		p, l := alone(op, 1, 32, n+out.C, precision)
		defer p.pool.stop()
		w := l.factorRows()
		f, t0, t1 := &l.forth, 3, 7
		if got, want := f.nextRows(w, t0, t1, 1, 0), w[f.tiles[5].first*f.segments.length:]; &got[0] != &want[0] {
			t.Errorf("%v: after a tile comes another than the next one", precision)
		}
		first, _ := f.segments.bounds(1)
		if got, want := f.nextRows(w, t0, t1, 3, 0), w[f.tiles[3].first*f.segments.length+first:]; &got[0] != &want[0] {
			t.Errorf("%v: after the last tile comes another than the first of the next segment", precision)
		}
		if f.nextRows(w, t0, t1, 3, f.segments.count-1) != nil {
			t.Errorf("%v: something follows the last tile of the last segment", precision)
		}
		tiles := l.back.tiles[2:5]
		row := 100
		if precision == device.BF16 {
			row *= 2
		}
		if got, want := l.nextStrip(tiles, 100), l.weights()[row*in.C+tiles[0].first:]; &got[0] != &want[0] {
			t.Errorf("%v: the next strip begins elsewhere", precision)
		}
		if l.nextStrip(tiles, l.back.segments.length) != nil {
			t.Errorf("%v: a strip follows the last one", precision)
		}
	}
}
