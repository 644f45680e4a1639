package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// naiveRound is the definition of Round.
func naiveRound(x float32) float32 {
	return math.Float32frombits(uint32(naiveBfloat16(x)) << 16)
}

// anyFloats draws n values of any bits, half of them such at which rounding changes.
func anyFloats(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = math.Float32frombits(r.Uint32())
		if r.IntN(2) == 0 {
			x[i] = edgeFloats[r.IntN(len(edgeFloats))]
		}
	}
	return x
}

func TestRoundFollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(61, 62))
		for n := range 80 {
			from := r.IntN(9)
			x := anyFloats(r, from+n)[from:]
			want := make([]float32, n)
			for i := range want {
				want[i] = naiveRound(x[i])
			}
			got := make([]float32, n+1)
			Round(got[:n], x)
			compare(t, fmt.Sprintf("%d values rounded", n), got, append(slices.Clone(want), 0))
			Round(x, x)
			compare(t, fmt.Sprintf("%d values rounded in place", n), x, want)
		}
	})
}

func TestAddRoundFollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(63, 64))
		for round := range draws(300) {
			n, from := r.IntN(80), r.IntN(9)
			x, y := anyFloats(r, from+n)[from:], anyFloats(r, from+n)[from:]
			if round%2 == 0 { // sums that are of some use, of bfloat16s as trees have them
				x, y = operands(r, n), operands(r, n)
				Round(x, x)
				Round(y, y)
			}
			want := make([]float32, n)
			for i := range want {
				want[i] = naiveRound(sum(x[i], y[i]))
			}
			got := make([]float32, n+1)
			AddRound(got[:n], x, y)
			compare(t, fmt.Sprintf("rounded sum of %d", n), got, append(slices.Clone(want), 0))
			inY := slices.Clone(y)
			AddRound(inY, x, inY)
			compare(t, fmt.Sprintf("rounded sum of %d into y", n), inY, want)
			AddRound(x, x, y)
			compare(t, fmt.Sprintf("rounded sum of %d into x", n), x, want)
		}
	})
}

// All values of bfloat16 come back as they were, so what a server has rounded is
// what it sends; and sums that end between two of them become the even one.
func TestRoundKeepsBfloat16sAndTakesTiesToEven(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		const all = 1 << 16
		x, got, zeros := make([]float32, all), make([]float32, all), make([]float32, all)
		for i := range x {
			x[i] = math.Float32frombits(uint32(i) << 16)
		}
		Round(got, x)
		compare(t, "bfloat16s", got, x)
		for i := range zeros {
			zeros[i] = float32(math.Copysign(0, -1))
		}
		AddRound(got, x, zeros)
		compare(t, "bfloat16s and -0", got, x)

		for i := range x {
			x[i] = math.Float32frombits(uint32(i)<<16 | 1<<15)
		}
		Round(got, x)
		for i, v := range got {
			if want := uint32(i+i&1) << 16; x[i] == x[i] && math.Float32bits(v) != want {
				t.Fatalf("%08x becomes %08x, want %08x", math.Float32bits(x[i]), math.Float32bits(v), want)
			}
		}
	})
}

// A NaN of all ones would become a zero if it were rounded as numbers are, and one
// of low bits alone an infinity if they were cut off.
func TestNaNsAreNotRoundedToNumbers(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		for _, u := range []uint32{0x7fffffff, 0xffffffff, 0x7fff8000, 0x7f800001, 0xff800001, 0x7f80ffff, 0x7fc00000} {
			x, one, sums := make([]float32, Lanes+1), make([]float32, Lanes+1), make([]float32, Lanes+1)
			for i := range x {
				x[i], one[i] = math.Float32frombits(u), 1
			}
			AddRound(sums, x, one)
			Round(x, x)
			for i := range x {
				if x[i] == x[i] || sums[i] == sums[i] {
					t.Fatalf("%08x becomes %x, and with 1 added %x", u, x[i], sums[i])
				}
			}
		}
	})
}

// Leaving the rounding out at one place, of the chains, of the sums of two or of
// the last one, would give other bits.
func TestTreesRoundEachSum(t *testing.T) {
	whole := func(x float32) float32 { return x }
	tree := func(v [4]float32, leaf, inner, root func(float32) float32) float32 {
		return root(inner(leaf(v[0])+leaf(v[1])) + inner(leaf(v[2])+leaf(v[3])))
	}
	eachPairKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(65, 66))
		s := shape{Tile: Tile{Rows: 3, Columns: 1, RowC: Lanes, StepA: 1, StepB: Lanes, Round: true}}
		for i, then := range []int{1, 2, 1, 3} {
			s.blocks = append(s.blocks, Block{A: i, B: i * Lanes, K: 1, Then: then})
		}
		c, b, differ := make([]float32, 3*Lanes), make([]float32, 4*Lanes), [3]int{}
		for range draws(100) {
			for i := range b {
				b[i] = r.Float32()
			}
			ChainTree(c, []float32{1, 1, 1, 1}, b, &s.Tile, s.blocks, make([]float32, 2*3*Lanes))
			for i, got := range c {
				v := [4]float32{b[i%Lanes], b[i%Lanes+Lanes], b[i%Lanes+2*Lanes], b[i%Lanes+3*Lanes]}
				if want := tree(v, naiveRound, naiveRound, naiveRound); !sameBits(got, want) {
					t.Fatalf("the sum of %x is %x, want %x", v, got, want)
				}
				for k, without := range []float32{
					tree(v, whole, naiveRound, naiveRound), tree(v, naiveRound, whole, naiveRound), tree(v, naiveRound, naiveRound, whole),
				} {
					if !sameBits(got, without) {
						differ[k]++
					}
				}
			}
		}
		for k, what := range []string{"chains", "sums of two", "the last sum"} {
			if differ[k] == 0 {
				t.Errorf("rounding %s changes nothing: the test does not tell", what)
			}
		}
	})
}

// A tree that meets infinities and NaNs has them in its sums, as bfloat16s have.
func TestRoundedTreesWithInfinitiesAndNaNs(t *testing.T) {
	inf, nan, largest := float32(math.Inf(1)), math.Float32frombits(0xffffffff), float32(math.MaxFloat32)
	eachKernel(t, func(t *testing.T) {
		s := shape{Tile: Tile{Rows: 1, Columns: 1, RowA: 1, StepA: 1, StepB: Lanes, Round: true}}
		for i, then := range []int{1, 2, 1, 3} {
			s.blocks = append(s.blocks, Block{A: i, B: i * Lanes, K: 1, Then: then})
		}
		a, b, c := []float32{1, 1, 1, 1}, make([]float32, 4*Lanes), make([]float32, Lanes)
		for i, x := range [][4]float32{
			{nan, 1, 1, 1}, {1, 1, nan, 1}, {inf, 1, 1, 1}, {1, 1, 1, -inf}, {inf, 1, -inf, 1}, {largest, 1, 1, 1}, {1, 1, 1, -largest},
		} {
			for k := range x {
				b[k*Lanes+i] = x[k]
			}
		}
		ChainTree(c, a, b, &s.Tile, s.blocks, make([]float32, 2*Lanes))
		compare(t, "sums", c, []float32{nan, nan, inf, -inf, nan, inf, -inf, 0})
	})
}

// What is no tree is not rounded: a chain that goes on is kept whole.
func TestChainsThatGoOnAreNotRounded(t *testing.T) {
	eachPairKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(67, 68))
		for range draws(50) {
			s := randomShape(r)
			s.Pairs = r.IntN(2) == 0
			c, a, b := s.call(r)
			want, got := slices.Clone(c), slices.Clone(c)
			Chain(want, a, b, &s.Tile, s.blocks)
			s.Round = true
			Chain(got, a, b, &s.Tile, s.blocks)
			compare(t, fmt.Sprintf("Chain %+v", s), got, want)
		}
	})
}

func TestRoundedSumsAllocateNothing(t *testing.T) {
	eachPairKernel(t, func(t *testing.T) {
		if n := testing.AllocsPerRun(10, func() {
			var a, b, c, stack [6 * 64]float32
			blocks := [...]Block{{K: 7, Then: 1}, {A: 8, B: 16, K: 9, Then: 2}}
			tile := Tile{Rows: 6, Columns: 1, RowC: Lanes, RowA: 24, StepA: 1, StepB: Lanes, Round: true}
			ChainTree(c[:], a[:], b[:], &tile, blocks[:], stack[:])
			AddRound(c[:], a[:], b[:])
			Round(c[:], c[:])
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
