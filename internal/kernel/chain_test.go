package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveChain is the definition of Chain.
func naiveChain(c []float32, ldc, rows int, a []float32, rowA, stepA int, b []float32, blocks []Block) {
	for i := range rows {
		for j := range Lanes {
			for _, block := range blocks {
				for k := range block.K {
					c[i*ldc+j] = FMA(a[block.A+i*rowA+k*stepA], b[block.B+k*Lanes+j], c[i*ldc+j])
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
	ldc, rows, rowA, stepA int
	blocks                 []Block
}

// call makes operands for s, as short as they may be.
func (s shape) call(r *rand.Rand) (c, a, b []float32) {
	na, nb := 0, 0
	for _, block := range s.blocks {
		if block.K > 0 {
			na = max(na, block.A+max(0, (s.rows-1)*s.rowA)+max(0, (block.K-1)*s.stepA)+1)
			nb = max(nb, block.B+block.K*Lanes)
		}
	}
	return operands(r, (s.rows-1)*s.ldc+Lanes), operands(r, na), operands(r, nb)
}

func randomShape(r *rand.Rand) shape {
	s := shape{ldc: Lanes + r.IntN(20), rows: 1 + r.IntN(TileRows), rowA: r.IntN(70), stepA: r.IntN(20)}
	for range r.IntN(5) {
		s.blocks = append(s.blocks, Block{A: r.IntN(90), B: r.IntN(90), K: r.IntN(20)})
	}
	return s
}

func checkChains(t *testing.T, s shape, c, a, b []float32) {
	t.Helper()
	want := slices.Clone(c)
	naiveChain(want, s.ldc, s.rows, a, s.rowA, s.stepA, b, s.blocks)
	got := slices.Clone(c)
	Chain(got, s.ldc, s.rows, a, s.rowA, s.stepA, b, s.blocks)
	compare(t, fmt.Sprintf("Chain %+v", s), got, want)

	// Outside the tile c stays; inside it counts for nothing.
	zero, dirty := slices.Clone(c), slices.Clone(c)
	for i := range s.rows {
		clear(zero[i*s.ldc:][:Lanes])
		for j := range Lanes {
			dirty[i*s.ldc+j] = float32(math.NaN())
		}
	}
	naiveChain(zero, s.ldc, s.rows, a, s.rowA, s.stepA, b, s.blocks)
	ChainZero(dirty, s.ldc, s.rows, a, s.rowA, s.stepA, b, s.blocks)
	compare(t, fmt.Sprintf("ChainZero %+v", s), dirty, zero)
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
	for _, s := range []shape{
		{ldc: 16, rows: 6, rowA: 512, stepA: 1, blocks: []Block{{K: 512}}},
		{ldc: 16, rows: 6, rowA: 1, stepA: 6, blocks: []Block{{K: 300}}},
		{ldc: 640, rows: 5, rowA: 1, stepA: 128, blocks: []Block{{K: 33}, {K: 31, A: 7, B: 3}}},
		{ldc: 16, rows: 4, rowA: 0, stepA: 1, blocks: []Block{{K: 9}}},
		{ldc: 16, rows: 3, rowA: 9, stepA: 0, blocks: []Block{{K: 9}}},
		{ldc: 16, rows: 6, rowA: -9, stepA: 1, blocks: []Block{{A: 45, K: 9}}},
		{ldc: 16, rows: 2, rowA: 16, stepA: -1, blocks: []Block{{A: 15, K: 16}}},
		{ldc: 16, rows: 6, rowA: 1, stepA: 1, blocks: nil},
		{ldc: 16, rows: 6, rowA: 1, stepA: 1, blocks: []Block{{K: 0}, {K: 1}, {K: 0}, {K: 0}}},
		{ldc: 16, rows: 1, rowA: 1, stepA: 1, blocks: []Block{{K: 5}, {K: 4}, {K: 3}, {K: 2}, {K: 1}}},
		{ldc: 16, rows: 6, rowA: 75, stepA: 1, blocks: slices.Repeat([]Block{{A: 3, B: 7, K: 3}}, 25)},
	} {
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
		whole := shape{ldc: Lanes, rows: TileRows, rowA: k, stepA: 1, blocks: []Block{{K: k}}}
		c, a, b := whole.call(r)
		want := slices.Clone(c)
		Chain(want, Lanes, TileRows, a, k, 1, b, whole.blocks)
		for cut := range k + 1 {
			head, tail := Block{K: cut}, Block{A: cut, B: cut * Lanes, K: k - cut}
			got := slices.Clone(c)
			Chain(got, Lanes, TileRows, a, k, 1, b, []Block{head, tail})
			compare(t, fmt.Sprintf("blocks cut at %d", cut), got, want)

			got = slices.Clone(c)
			Chain(got, Lanes, TileRows, a, k, 1, b, []Block{head})
			Chain(got, Lanes, TileRows, a, k, 1, b, []Block{tail})
			compare(t, fmt.Sprintf("calls cut at %d", cut), got, want)
		}
		for rows := 1; rows < TileRows; rows++ {
			got := slices.Clone(c)
			Chain(got, Lanes, rows, a, k, 1, b, whole.blocks)
			Chain(got[rows*Lanes:], Lanes, TileRows-rows, a[rows*k:], k, 1, b, whole.blocks)
			compare(t, fmt.Sprintf("tile of %d rows", rows), got, want)
		}
	})
}

func TestChainWithInfinitiesAndNaNs(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachKernel(t, func(t *testing.T) {
		s := shape{ldc: Lanes, rows: 2, rowA: 4, stepA: 1, blocks: []Block{{K: 4}}}
		c, a, b := s.call(rand.New(rand.NewPCG(11, 12)))
		a[1], b[3], b[17], b[18], c[5], c[6] = 0, inf, inf, -inf, nan, -inf
		checkChains(t, s, c, a, b)
	})
}

func TestKernelsAllocateNothing(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		var a, b, c [6 * 64]float32
		for _, tc := range []struct {
			name string
			run  func()
		}{
			{"Chain", func() {
				blocks := [...]Block{{K: 7}, {A: 8, B: 16, K: 9}}
				Chain(c[:], Lanes, 6, a[:], 24, 1, b[:], blocks[:])
			}},
			{"Add", func() { Add(c[:], a[:], b[:]) }},
			{"Momentum", func() { Momentum(c[:], b[:], c[:], b[:], a[:], 1, 0.1, 0.9, 0.01) }},
			{"Nesterov", func() { Nesterov(c[:], b[:], c[:], b[:], a[:], 1, 0.1, 0.9, 0.01) }},
			{"Finite", func() { Finite(c[:]) }},
		} {
			if n := testing.AllocsPerRun(10, tc.run); n != 0 {
				t.Errorf("%s allocates %v times a call, want 0", tc.name, n)
			}
		}
	})
}
