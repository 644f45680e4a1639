package kernel

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
)

// eachPairKernel runs test with every form of the products of pairs, also with
// AVX-512 where pairs are taken apart.
func eachPairKernel(t *testing.T, test func(t *testing.T)) {
	eachKernel(t, test)
	t.Run("taken apart", func(t *testing.T) {
		defer takeApart()()
		test(t)
	})
}

// slowStep is the definition of one of a pair's two steps, with exact arithmetic.
func slowStep(a, b, c float32) float32 {
	a, b, c = slowFlush(a), slowFlush(b), slowFlush(c)
	if p := float64(a) * float64(b); p == 0 || c == 0 || math.IsInf(p, 0) || math.IsInf(float64(c), 0) || p != p || c != c {
		// One of the summands is zero or not finite: the sum of the two is exact.
		if s := p + float64(c); s == 0 || math.IsInf(s, 0) || s != s {
			return float32(s)
		}
	}
	exact := new(big.Float).SetPrec(2000).Mul(big.NewFloat(float64(a)), big.NewFloat(float64(b)))
	exact.Add(exact, big.NewFloat(float64(c)))
	rounded := new(big.Float).SetPrec(24).SetMode(big.ToNearestEven).Set(exact)
	x, _ := rounded.Float32()
	if new(big.Float).Abs(rounded).Cmp(big.NewFloat(0x1p-126)) < 0 {
		x = 0
		if rounded.Signbit() {
			x = float32(math.Copysign(0, -1))
		}
	}
	return x
}

func slowFlush(x float32) float32 {
	if math.Abs(float64(x)) < 0x1p-126 {
		return float32(math.Copysign(0, float64(x)))
	}
	return x
}

// halves returns the factors of a pair.
func halves(pair float32) (upper, lower float32) {
	u := math.Float32bits(pair)
	return math.Float32frombits(u & 0xffff0000), math.Float32frombits(u << 16)
}

func slowPairs(c, a, b []float32, s shape) {
	for i := range s.Rows {
		for w := range s.Columns {
			for j := range Lanes {
				at := i*s.RowC + w*s.ColumnC + j
				for _, block := range s.blocks {
					for k := range block.K {
						upper, lower := halves(a[block.A+i*s.RowA+k*s.StepA])
						up, low := halves(b[block.B+k*s.StepB+w*s.ColumnB+j])
						c[at] = slowStep(lower, low, slowStep(upper, up, c[at]))
					}
				}
			}
		}
	}
}

// pairCall makes operands of pairs for s. Sums may be subnormal, and products
// come near to the smallest normal number.
func pairCall(r *rand.Rand, s shape) (c, a, b []float32) {
	c, a, b = s.call(r)
	small := r.IntN(3) == 0
	for _, x := range [][]float32{a, b} {
		for i := range x {
			if small {
				x[i] = pairOf(tiny(r, -64), tiny(r, -64))
			} else {
				x[i] = pairOf(x[i], float32(r.NormFloat64()))
			}
		}
	}
	if small {
		for i := range c {
			c[i] = tiny(r, -127)
		}
	}
	return c, a, b
}

// tiny returns a number near 2^exponent, at times zero or subnormal.
func tiny(r *rand.Rand, exponent int) float32 {
	switch x := math.Ldexp(r.Float64()*2-1, exponent+r.IntN(5)); r.IntN(12) {
	case 0:
		return float32(math.Copysign(0, x))
	case 1:
		return float32(math.Copysign(0x1p-130, x))
	default:
		return float32(x)
	}
}

func TestPairsFollowTheirDefinition(t *testing.T) {
	eachPairKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		for range draws(80) {
			s := randomShape(r)
			s.Pairs = true
			c, a, b := pairCall(r, s)
			what := fmt.Sprintf("%+v", s)

			want, got := slices.Clone(c), slices.Clone(c)
			slowPairs(want, a, b, s)
			Chain(got, a, b, &s.Tile, s.blocks)
			compare(t, "Chain "+what, got, want)

			want, got = slices.Clone(c), slices.Clone(c)
			s.inTile(func(at, _ int) { want[at], got[at] = 0, float32(math.NaN()) })
			slowPairs(want, a, b, s)
			ChainZero(got, a, b, &s.Tile, s.blocks)
			compare(t, "ChainZero "+what, got, want)

			want, got = slices.Clone(c), slices.Clone(c)
			from := c[:s.Rows]
			s.inTile(func(at, row int) { want[at], got[at] = from[row], float32(math.NaN()) })
			slowPairs(want, a, b, s)
			ChainFrom(got, from, a, b, &s.Tile, s.blocks)
			compare(t, "ChainFrom "+what, got, want)
		}
	})
}

func TestPairsOfEveryShape(t *testing.T) {
	for rows := 1; rows <= TileRows; rows++ {
		for columns := 1; columns <= TileColumns; columns++ {
			s := shape{
				Tile{Rows: rows, Columns: columns, RowC: 32, ColumnC: 16, RowA: 40, StepA: 1, StepB: 32, ColumnB: 16, Pairs: true},
				[]Block{{K: 7}, {A: 7, B: 3, K: 13}},
			}
			eachPairKernel(t, func(t *testing.T) {
				c, a, b := pairCall(rand.New(rand.NewPCG(7, 8)), s)
				want := slices.Clone(c)
				slowPairs(want, a, b, s)
				Chain(c, a, b, &s.Tile, s.blocks)
				compare(t, fmt.Sprintf("%+v", s), c, want)
			})
		}
	}
}

// Sums of a tree are added as float32s: a subnormal one stays.
func TestTreesOfPairsFollowTheirDefinition(t *testing.T) {
	eachPairKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(33, 34))
		for range draws(60) {
			s, depth := randomTree(r, randomShape(r))
			s.Pairs, s.Round = true, r.IntN(2) == 0
			c, a, b := pairCall(r, s)
			want := slices.Clone(c)
			slowTree(want, a, b, s)
			got := slices.Clone(c)
			s.inTile(func(at, _ int) { got[at] = float32(math.NaN()) })
			ChainTree(got, a, b, &s.Tile, s.blocks, filled(depth*s.Values()))
			compare(t, fmt.Sprintf("%+v", s), got, want)
		}
	})
}

// slowTree is the definition of ChainTree of pairs.
func slowTree(c, a, b []float32, s shape) {
	var sums [][]float32
	first := 0
	for i, block := range s.blocks {
		if block.Then == 0 {
			continue
		}
		chain := s
		chain.blocks = s.blocks[first : i+1]
		first = i + 1
		sum := slices.Clone(c)
		s.inTile(func(at, _ int) { sum[at] = 0 })
		slowPairs(sum, a, b, chain)
		s.inTile(func(at, _ int) { sum[at] = s.kept(sum[at]) })
		for range block.Then - 1 {
			earlier := sums[len(sums)-1]
			sums = sums[:len(sums)-1]
			s.inTile(func(at, _ int) { sum[at] = s.kept(earlier[at] + sum[at]) })
		}
		sums = append(sums, sum)
	}
	copy(c, sums[0])
}

// Sums around the smallest normal number: what is rounded to it stays, what is
// rounded to less does not, although float32 has subnormal numbers for it.
func TestPairsFlushWhatIsBelowTheSmallestNormalNumber(t *testing.T) {
	eachPairKernel(t, func(t *testing.T) {
		for _, tc := range []struct{ a, b, c, want float32 }{
			{0x1p-63, 0x1p-63, 0, 0x1p-126},
			{0x1.fep-64, 0x1p-63, 0, 0},                           // 0x1.fep-127
			{-0x1p-64, 0x1p-63, 0, float32(math.Copysign(0, -1))}, // -2^-127
			{0x1p-75, -0x1p-76, 0x1p-126, 0x1p-126},               // below it by half a unit: to even, which is normal
			{0x1p-75, -0x1.8p-76, 0x1p-126, 0},                    // by three quarters
			{0x1p-74, 0x1p-75, 0x1p-126, 0x1p-126 + 0x1p-149},     // above it
			{1, 0x1p-127, 1, 1},                                   // a factor below it is zero
			{0x1p100, 0x1p-130, 0, 0},
			{0, 0, 0x1p-130, 0}, // so is a sum, even by a product of zero
			{0, 0, -0x1p-130, 0},
			{0x1p-100, 0x1p-100, -0x1p-126, -0x1p-126},
		} {
			s := shape{Tile{Rows: 1, Columns: 1, StepA: 1, StepB: Lanes, Pairs: true}, []Block{{K: 1}}}
			want := slowStep(0, 0, slowStep(tc.a, tc.b, tc.c))
			if float32(math.Abs(float64(want))) != float32(math.Abs(float64(tc.want))) {
				t.Fatalf("the definition gives %x, want %x", want, tc.want)
			}
			c, b := slices.Repeat([]float32{tc.c}, Lanes), slices.Repeat([]float32{pairOf(tc.b, 0)}, Lanes)
			Chain(c, []float32{pairOf(tc.a, 0)}, b, &s.Tile, s.blocks)
			compare(t, fmt.Sprintf("%x*%x + %x", tc.a, tc.b, tc.c), c, slices.Repeat([]float32{want}, Lanes))
		}
	})
}

// subnormal is a variable, so that the processor adds it and not the compiler.
var subnormal float32 = 0x1p-130

// The processor's treatment of subnormal numbers is as it was afterwards.
func TestPairsLeaveSubnormalNumbersToOthers(t *testing.T) {
	eachPairKernel(t, func(t *testing.T) {
		c, a, b := make([]float32, Lanes), make([]float32, 4), make([]float32, 4*Lanes)
		ChainZero(c, a, b, &Tile{Rows: 1, Columns: 1, StepA: 1, StepB: Lanes, Pairs: true}, []Block{{K: 4}})
		// Were they still taken as zeros, a comparison of numbers would find equal zeros.
		if sum := math.Float32bits(subnormal + subnormal); sum != math.Float32bits(0x1p-129) {
			t.Errorf("2^-130 + 2^-130 has bits %08x", sum)
		}
	})
}

func TestPairsWithInfinitiesAndNaNs(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	eachPairKernel(t, func(t *testing.T) {
		s := shape{Tile{Rows: 2, Columns: 1, RowC: Lanes, RowA: 4, StepA: 1, StepB: Lanes, Pairs: true}, []Block{{K: 4}}}
		c, a, b := pairCall(rand.New(rand.NewPCG(11, 12)), s)
		a[1], b[3], b[17], b[18], c[5], c[6] = 0, pairOf(inf, 1), pairOf(inf, 1), pairOf(1, -inf), nan, -inf
		want := slices.Clone(c)
		slowPairs(want, a, b, s)
		Chain(c, a, b, &s.Tile, s.blocks)
		compare(t, "Chain", c, want)
	})
}

func TestPairRoundsBothHalves(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(35, 36))
		for _, n := range []int{0, 1, 7, 14, 16, 17, 33, 200} {
			upper, lower := make([]float32, n), make([]float32, n)
			for i := range upper {
				upper[i], lower[i] = math.Float32frombits(r.Uint32()), math.Float32frombits(r.Uint32())
			}
			rounded := make([]uint16, 2*n)
			ToBfloat16(rounded[:n], upper)
			ToBfloat16(rounded[n:], lower)
			check := func(what string, got []float32, want func(i int) uint32) {
				t.Helper()
				for i, g := range got {
					if math.Float32bits(g) != want(i) {
						t.Fatalf("%s of %d: pair %d is %08x, want %08x", what, n, i, math.Float32bits(g), want(i))
					}
				}
			}
			dst := filled(n + 1)
			sentinel := dst[n]
			Pair(dst[:n], upper, lower)
			check("Pair", dst[:n], func(i int) uint32 { return uint32(rounded[i])<<16 | uint32(rounded[n+i]) })
			Pair(dst[:n], upper, nil)
			check("Pair with zeros", dst[:n], func(i int) uint32 { return uint32(rounded[i]) << 16 })
			if dst[n] != sentinel {
				t.Fatalf("Pair of %d wrote behind them", n)
			}
			for _, odd := range []int{0, 1} {
				x := slices.Concat(upper, lower)
				x = x[:len(x)-min(odd, len(x))]
				next := make([]float32, (len(x)+1)/2)
				PairNext(next, x)
				check("PairNext", next, func(i int) uint32 {
					if 2*i+1 == len(x) {
						return uint32(rounded[2*i]) << 16
					}
					return uint32(rounded[2*i])<<16 | uint32(rounded[2*i+1])
				})
			}
		}
	})
}

func TestPairRowsPairsRows(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		for rows := range 6 {
			x := filled(rows * Lanes)
			dst := make([]float32, (rows+1)/2*Lanes)
			PairRows(dst, x)
			for i, got := range dst {
				row, lane := i/Lanes*2, i%Lanes
				want := pairOf(x[row*Lanes+lane], 0)
				if row+1 < rows {
					want = pairOf(x[row*Lanes+lane], x[(row+1)*Lanes+lane])
				}
				if math.Float32bits(got) != math.Float32bits(want) {
					t.Fatalf("%d rows: pair %d is %08x, want %08x", rows, i, math.Float32bits(got), math.Float32bits(want))
				}
			}
		}
	})
}

func TestSplitPairKeepsEachFactorInItsPlace(t *testing.T) {
	lower, upper := SplitPair(math.Float32frombits(0x3f80c123))
	if math.Float32bits(lower) != 0xc123 || math.Float32bits(upper) != 0x3f800000 {
		t.Errorf("%08x and %08x", math.Float32bits(lower), math.Float32bits(upper))
	}
}

func TestPairsAllocateNothing(t *testing.T) {
	eachPairKernel(t, func(t *testing.T) {
		x, dst := filled(300), make([]float32, 300)
		blocks := [...]Block{{K: 3, Then: 1}, {A: 3, K: 2, Then: 2}}
		tile := Tile{Rows: 6, Columns: 1, RowC: Lanes, RowA: 24, StepA: 1, StepB: Lanes, Pairs: true}
		if n := testing.AllocsPerRun(10, func() {
			Pair(dst[:100], x[:100], nil)
			PairNext(dst[:50], x[:99])
			PairRows(dst[:2*Lanes], x[:3*Lanes])
			ChainTree(dst[:6*Lanes], x, x, &tile, blocks[:], dst[6*Lanes:])
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
