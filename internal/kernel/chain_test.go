package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// naiveChain is the definition of Chain.
func naiveChain(c, a, b []float32, t *Tile, blocks []Block) {
	for i := range t.Rows {
		for w := range t.Columns {
			for j := range Lanes {
				at := i*t.RowC + w*t.ColumnC + j
				for _, block := range blocks {
					for k := range block.K {
						c[at] = FMA(a[block.A+i*t.RowA+k*t.StepA], b[block.B+k*t.StepB+w*t.ColumnB+j], c[at])
					}
				}
			}
		}
	}
}

// operands draws n values whose chains meet all that a chain may: ordinary
// values, values of very different sizes, subnormal ones and zeros.
func operands(r *rand.Rand, n int) []float32 {
	kind := r.IntN(4)
	x := make([]float32, n)
	for i := range x {
		switch kind {
		case 0:
			x[i] = float32(r.NormFloat64())
		case 1:
			x[i] = float32(math.Ldexp(r.Float64()-0.5, r.IntN(60)-30))
		case 2:
			x[i] = float32(math.Ldexp(r.Float64()-0.5, -60-r.IntN(20)))
		case 3:
			x[i] = float32(max(0, r.NormFloat64()))
			if r.IntN(8) == 0 {
				x[i] = float32(math.Copysign(0, -1))
			}
		}
	}
	return x
}

// shape is one call of Chain.
type shape struct {
	Tile
	blocks []Block
}

// call makes operands for s, as short as they may be.
func (s shape) call(r *rand.Rand) (c, a, b []float32) {
	na, nb := 0, 0
	for _, block := range s.blocks {
		if block.K > 0 {
			na = max(na, block.A+max(0, (s.Rows-1)*s.RowA)+max(0, (block.K-1)*s.StepA)+1)
			nb = max(nb, block.B+max(0, (block.K-1)*s.StepB)+max(0, (s.Columns-1)*s.ColumnB)+Lanes)
		}
	}
	return operands(r, (s.Rows-1)*s.RowC+(s.Columns-1)*s.ColumnC+Lanes), operands(r, na), operands(r, nb)
}

func randomShape(r *rand.Rand) shape {
	s := shape{Tile: Tile{
		Rows: 1 + r.IntN(TileRows), Columns: 1 + r.IntN(TileColumns),
		RowA: r.IntN(70), StepA: r.IntN(20), StepB: r.IntN(40), ColumnB: r.IntN(300),
	}}
	// Columns of c lie beside each other in a row, or rows in a column.
	if r.IntN(2) == 0 {
		s.ColumnC = Lanes + r.IntN(5)
		s.RowC = s.ColumnC*(s.Columns-1) + Lanes + r.IntN(20)
	} else {
		s.RowC = Lanes + r.IntN(5)
		s.ColumnC = s.RowC*(s.Rows-1) + Lanes + r.IntN(20)
	}
	for range r.IntN(5) {
		s.blocks = append(s.blocks, Block{A: r.IntN(90), B: r.IntN(90), K: r.IntN(20)})
	}
	return s
}

// inTile calls f with the index of each value of c that belongs to the tile,
// and its row.
func (s shape) inTile(f func(at, row int)) {
	for i := range s.Rows {
		for w := range s.Columns {
			for j := range Lanes {
				f(i*s.RowC+w*s.ColumnC+j, i)
			}
		}
	}
}

func checkChains(t *testing.T, s shape, c, a, b []float32) {
	t.Helper()
	want := slices.Clone(c)
	naiveChain(want, a, b, &s.Tile, s.blocks)
	got := slices.Clone(c)
	Chain(got, a, b, &s.Tile, s.blocks)
	compare(t, fmt.Sprintf("Chain %+v", s), got, want)

	// Outside the tile c stays; inside it counts for nothing.
	want, got = slices.Clone(c), slices.Clone(c)
	s.inTile(func(at, _ int) { want[at], got[at] = 0, float32(math.NaN()) })
	naiveChain(want, a, b, &s.Tile, s.blocks)
	ChainZero(got, a, b, &s.Tile, s.blocks)
	compare(t, fmt.Sprintf("ChainZero %+v", s), got, want)

	want, got = slices.Clone(c), slices.Clone(c)
	from := c[:s.Rows]
	s.inTile(func(at, row int) { want[at], got[at] = from[row], float32(math.NaN()) })
	naiveChain(want, a, b, &s.Tile, s.blocks)
	ChainFrom(got, from, a, b, &s.Tile, s.blocks)
	compare(t, fmt.Sprintf("ChainFrom %+v", s), got, want)
}

func compare(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if !sameBits(got[i], want[i]) {
			t.Fatalf("%s: value %d of %d = %x, want %x", what, i, len(want), got[i], want[i])
		}
	}
}

func TestChainFollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 6))
		for range draws(1500) {
			s := randomShape(r)
			c, a, b := s.call(r)
			checkChains(t, s, c, a, b)
		}
	})
}

func TestChainTakesEveryShape(t *testing.T) {
	shapes := []shape{
		{Tile{Rows: 14, Columns: 2, RowC: 16, ColumnC: 224, RowA: 512, StepA: 1, StepB: 16, ColumnB: 8192}, []Block{{K: 512}}},
		{Tile{Rows: 14, Columns: 1, RowC: 16, RowA: 1, StepA: 14, StepB: 16}, []Block{{K: 300}}},
		{Tile{Rows: 5, Columns: 2, RowC: 640, ColumnC: 16, RowA: 1, StepA: 128, StepB: 33, ColumnB: 1}, []Block{{K: 33}, {K: 31, A: 7, B: 3}}},
		{Tile{Rows: 4, Columns: 1, RowC: 16, RowA: 0, StepA: 1, StepB: 16}, []Block{{K: 9}}},
		{Tile{Rows: 3, Columns: 1, RowC: 16, RowA: 9, StepA: 0, StepB: 0}, []Block{{K: 9}}},
		{Tile{Rows: 12, Columns: 1, RowC: 16, RowA: -9, StepA: 1, StepB: 16}, []Block{{A: 99, K: 9}}},
		{Tile{Rows: 2, Columns: 2, RowC: 16, ColumnC: 32, RowA: 16, StepA: -1, StepB: -16, ColumnB: -16}, []Block{{A: 15, B: 256, K: 16}}},
		{Tile{Rows: 6, Columns: 1, RowC: 16, RowA: 1, StepA: 1, StepB: 16}, nil},
		{Tile{Rows: 6, Columns: 2, RowC: 32, ColumnC: 16, RowA: 1, StepA: 1, StepB: 16}, []Block{{K: 0}, {K: 1}, {K: 0}, {K: 0}}},
		{Tile{Rows: 1, Columns: 1, RowA: 1, StepA: 1, StepB: 16}, []Block{{K: 5}, {K: 4}, {K: 3}, {K: 2}, {K: 1}}},
		{Tile{Rows: 6, Columns: 1, RowC: 16, RowA: 75, StepA: 1, StepB: 16}, slices.Repeat([]Block{{A: 3, B: 7, K: 3}}, 25)},
	}
	for rows := 1; rows <= TileRows; rows++ {
		for columns := 1; columns <= TileColumns; columns++ {
			shapes = append(shapes, shape{
				Tile{Rows: rows, Columns: columns, RowC: 32, ColumnC: 16, RowA: 40, StepA: 1, StepB: 32, ColumnB: 16},
				[]Block{{K: 7}, {A: 7, B: 3, K: 13}},
			})
		}
	}
	for _, s := range shapes {
		eachKernel(t, func(t *testing.T) {
			c, a, b := s.call(rand.New(rand.NewPCG(7, 8)))
			checkChains(t, s, c, a, b)
		})
	}
}

// A chain that is interrupted and continued, in blocks or in calls, is the
// same chain; and a row is the same whatever rows stand beside it.
func TestChainSplitsAnywhere(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 10))
		const k = 50
		whole := shape{Tile{Rows: TileRows, Columns: 1, RowC: Lanes, RowA: k, StepA: 1, StepB: Lanes}, []Block{{K: k}}}
		c, a, b := whole.call(r)
		want := slices.Clone(c)
		Chain(want, a, b, &whole.Tile, whole.blocks)
		for cut := range k + 1 {
			head, tail := Block{K: cut}, Block{A: cut, B: cut * Lanes, K: k - cut}
			got := slices.Clone(c)
			Chain(got, a, b, &whole.Tile, []Block{head, tail})
			compare(t, fmt.Sprintf("blocks cut at %d", cut), got, want)

			got = slices.Clone(c)
			Chain(got, a, b, &whole.Tile, []Block{head})
			Chain(got, a, b, &whole.Tile, []Block{tail})
			compare(t, fmt.Sprintf("calls cut at %d", cut), got, want)
		}
		for rows := 1; rows < TileRows; rows++ {
			got := slices.Clone(c)
			upper, lower := whole.Tile, whole.Tile
			upper.Rows, lower.Rows = rows, TileRows-rows
			Chain(got, a, b, &upper, whole.blocks)
			Chain(got[rows*Lanes:], a[rows*k:], b, &lower, whole.blocks)
			compare(t, fmt.Sprintf("tile of %d rows", rows), got, want)
		}
	})
}

// naiveTree is the definition of ChainTree for one tile, its sums in a slice of tiles.
func naiveTree(c, a, b []float32, s shape) {
	var sums [][]float32
	first := 0
	for i, block := range s.blocks {
		if block.Then == 0 {
			continue
		}
		sum := slices.Clone(c)
		s.inTile(func(at, _ int) { sum[at] = 0 })
		naiveChain(sum, a, b, &s.Tile, s.blocks[first:i+1])
		s.inTile(func(at, _ int) { sum[at] = s.kept(sum[at]) })
		for range block.Then - 1 {
			left := sums[len(sums)-1]
			sums = sums[:len(sums)-1]
			s.inTile(func(at, _ int) { sum[at] = s.kept(left[at] + sum[at]) })
		}
		sums = append(sums, sum)
		first = i + 1
	}
	copy(c, sums[len(sums)-1])
}

// kept returns what a tree keeps of one of its sums.
func (s shape) kept(sum float32) float32 {
	if s.Round {
		return naiveRound(sum)
	}
	return sum
}

// randomTree turns blocks into several chains, some of several blocks, which
// take some of the sums before them.
func randomTree(r *rand.Rand, s shape) (tree shape, depth int) {
	for range 1 + r.IntN(3) {
		s.blocks = append(s.blocks, Block{A: r.IntN(90), B: r.IntN(90), K: 1 + r.IntN(20)})
	}
	sums := 0
	for i := range s.blocks {
		if r.IntN(3) == 0 && i < len(s.blocks)-1 {
			continue // the chain goes on with the next block
		}
		take := r.IntN(sums + 1)
		if i == len(s.blocks)-1 {
			take = sums
		}
		s.blocks[i].Then = take + 1
		sums -= take
		if i < len(s.blocks)-1 {
			sums++
		}
		depth = max(depth, sums)
	}
	return s, depth
}

func TestChainTreeFollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(13, 14))
		for range draws(1000) {
			s, depth := randomTree(r, randomShape(r))
			s.Round = r.IntN(2) == 0
			c, a, b := s.call(r)
			want := slices.Clone(c)
			naiveTree(want, a, b, s)
			got := slices.Clone(c)
			s.inTile(func(at, _ int) { got[at] = float32(math.NaN()) })
			ChainTree(got, a, b, &s.Tile, s.blocks, filled(depth*s.Values()))
			compare(t, fmt.Sprintf("ChainTree %+v", s), got, want)
		}
	})
}

// The tree over eight shards of one image each, as a fully connected layer has it.
func TestChainTreeOfEightShards(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 16))
		s := shape{Tile: Tile{Rows: TileRows, Columns: 2, RowC: 32, ColumnC: 16, RowA: 16, StepA: 1, StepB: 16, ColumnB: 256}}
		for i, then := range []int{1, 2, 1, 3, 1, 2, 1, 4} {
			s.blocks = append(s.blocks, Block{A: i, B: i * 16, K: 1, Then: then})
		}
		c, a, b := s.call(r)
		ChainTree(c, a, b, &s.Tile, s.blocks, make([]float32, 3*s.Values()))
		s.inTile(func(at, row int) {
			var p [8]float32
			for i := range p {
				p[i] = a[row*16+i] * b[i*16+at%32/16*256+at%16]
			}
			want := ((p[0] + p[1]) + (p[2] + p[3])) + ((p[4] + p[5]) + (p[6] + p[7]))
			if !sameBits(c[at], want) {
				t.Fatalf("value %d = %x, want %x", at, c[at], want)
			}
		})
	})
}

func TestChainWithInfinitiesAndNaNs(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachKernel(t, func(t *testing.T) {
		s := shape{Tile{Rows: 2, Columns: 1, RowC: Lanes, RowA: 4, StepA: 1, StepB: Lanes}, []Block{{K: 4}}}
		c, a, b := s.call(rand.New(rand.NewPCG(11, 12)))
		a[1], b[3], b[17], b[18], c[5], c[6] = 0, inf, inf, -inf, nan, -inf
		checkChains(t, s, c, a, b)
	})
}

func TestKernelsAllocateNothing(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		var a, b, c, stack [6 * 64]float32
		for _, tc := range []struct {
			name string
			run  func()
		}{
			{"Chain", func() {
				blocks := [...]Block{{K: 7}, {A: 8, B: 16, K: 9}}
				tile := Tile{Rows: 6, Columns: 1, RowC: Lanes, RowA: 24, StepA: 1, StepB: Lanes}
				Chain(c[:], a[:], b[:], &tile, blocks[:])
			}},
			{"ChainTree", func() {
				blocks := [...]Block{{K: 7, Then: 1}, {A: 8, B: 16, K: 9, Then: 2}}
				tile := Tile{Rows: 6, Columns: 1, RowC: Lanes, RowA: 24, StepA: 1, StepB: Lanes}
				ChainTree(c[:], a[:], b[:], &tile, blocks[:], stack[:])
			}},
			{"Add", func() { Add(c[:], a[:], b[:]) }},
			{"Momentum", func() { Momentum(c[:], b[:], c[:], b[:], a[:], 1, 0.1, 0.9, 0.01, false) }},
			{"Nesterov", func() { Nesterov(c[:], b[:], c[:], b[:], a[:], 1, 0.1, 0.9, 0.01, false) }},
			{"Finite", func() { Finite(c[:]) }},
			{"ReLU", func() { ReLU(c[:], a[:]) }},
			{"ReLUBack", func() { ReLUBack(c[:], b[:], a[:]) }},
			{"LeakyReLU", func() { LeakyReLU(c[:], a[:], 0.01) }},
			{"LeakyReLUBack", func() { LeakyReLUBack(c[:], b[:], a[:], 0.01) }},
			{"pooling", func() {
				var from [6 * 64]int32
				w := Window{Rows: 2, Columns: 2, Row: 64, Column: 32, PixelRow: 2}
				MaxPool(c[:32], from[:32], a[:], &w)
				MaxPoolBack(c[:32], a[:], from[:], 1, &w)
				AveragePool(c[:32], a[:], 4, &w)
				AveragePoolBack(c[:32], a[:], b[:], &w)
			}},
			{"LRN", func() {
				r := Response{Before: 2, After: 2, K: 1, Alpha: 0.1, Beta: 0.75}
				LRN(c[:], b[:], stack[:], a[:], &r)
				LRNBack(c[:], a[:], a[:], b[:], b[:], stack[:], &r)
			}},
		} {
			if n := testing.AllocsPerRun(10, tc.run); n != 0 {
				t.Errorf("%s allocates %v times a call, want 0", tc.name, n)
			}
		}
	})
}

// Results that are written past the caches are the same, of chains and of trees,
// and nothing beside them is touched.
func TestFarResultsAreTheSame(t *testing.T) {
	eachPairKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(41, 42))
		for range draws(100) {
			s, depth := randomTree(r, randomShape(r))
			s.RowC = s.Columns*Lanes + r.IntN(3)*Lanes
			s.ColumnC, s.Pairs, s.Round = Lanes, r.IntN(2) == 0, r.IntN(2) == 0
			c, a, b := s.call(r)
			c = aligned(c)
			stack := filled(depth * s.Values())
			far := s
			far.Far = true

			want, got := slices.Clone(c), aligned(c)
			ChainTree(want, a, b, &s.Tile, s.blocks, stack)
			ChainTree(got, a, b, &far.Tile, s.blocks, stack)
			compare(t, fmt.Sprintf("ChainTree %+v", far), got, want)

			for i := range s.blocks {
				s.blocks[i].Then = 0
			}
			want, got = slices.Clone(c), aligned(c)
			Chain(want, a, b, &s.Tile, s.blocks)
			Chain(got, a, b, &far.Tile, s.blocks)
			compare(t, fmt.Sprintf("Chain %+v", far), got, want)
		}
	})
}

// aligned returns a copy of x that begins at a multiple of 64 bytes.
func aligned(x []float32) []float32 {
	y := make([]float32, len(x)+Lanes)
	for uintptr(unsafe.Pointer(&y[0]))%64 != 0 {
		y = y[1:]
	}
	return y[:copy(y, x)]
}
