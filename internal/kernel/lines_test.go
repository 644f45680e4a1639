package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestFetchingChangesNothing computes tiles with lines to fetch meanwhile, of
// which some lie where nothing is.
func TestFetchingChangesNothing(t *testing.T) {
	defer Select("")
	r := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = r.Float32() - 0.5
		}
		return x
	}
	const steps = 300
	a, b, start := noise(TileRows*steps), noise(2*steps*Lanes), noise(TileRows*2*Lanes)
	lines := make([]int, steps/LineSteps)
	for i := range lines {
		lines[i] = 64 * i
		if i%3 == 2 {
			lines[i] = i << 40
		}
	}
	blocks := []Block{{K: 5}, {A: 5, B: 5 * Lanes, K: 16}, {A: 21, B: 21 * Lanes, K: 17}, {A: 38, B: 38 * Lanes, K: steps - 38}}
	for _, name := range Names() {
		if err := Select(name); err != nil {
			t.Fatal(err)
		}
		for i := range 4 * TileRows {
			rows, columns, pairs := i%TileRows+1, i/TileRows%2+1, i >= 2*TileRows
			tile := Tile{Rows: rows, Columns: columns, RowC: 2 * Lanes, ColumnC: Lanes, RowA: steps, StepA: 1, StepB: Lanes, ColumnB: steps * Lanes, Pairs: pairs}
			want, got := slices.Clone(start), slices.Clone(start)
			Chain(want, a, b, &tile, blocks)
			tile.Next, tile.Lines = &a[0], &lines[0]
			Chain(got, a, b, &tile, blocks)
			if !slices.EqualFunc(got, want, sameBits) {
				t.Errorf("%s kernels, %d x %d, pairs %v: another result with lines to fetch", name, rows, columns, pairs)
			}
		}
		Fetch(a, lines)
		Fetch(nil, nil)
	}
}
