package kernel

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// exactFMA rounds a*b + c once, by way of a number long enough for any sum of
// two products of float32s.
func exactFMA(a, b, c float32) float32 {
	wide := func(x float32) *big.Float { return new(big.Float).SetPrec(1000).SetFloat64(float64(x)) }
	p := new(big.Float).SetPrec(1000).Mul(wide(a), wide(b))
	s, _ := new(big.Float).SetPrec(1000).Add(p, wide(c)).Float32()
	return s
}

func bitsOf(x float32) uint32 { return math.Float32bits(x) }

// sameBits counts all NaNs as one.
func sameBits(x, y float32) bool { return bitsOf(x) == bitsOf(y) || x != x && y != y }

// draws returns n, or a tenth of it in the slower builds that check arguments.
func draws(n int) int {
	if checked {
		return n / 10
	}
	return n
}

// eachKernel runs a test with each of the kernels that this machine has.
func eachKernel(t *testing.T, test func(t *testing.T)) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			useKernel(t, name)
			test(t)
		})
	}
}

func useKernel(t testing.TB, name string) {
	before := Name()
	if err := Select(name); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := Select(before); err != nil {
			t.Error(err)
		}
	})
}

func TestFMARoundsOnce(t *testing.T) {
	const (
		ulp      = 0x1p-23 // of 1
		smallest = 0x1p-149
		normal   = 0x1p-126
		largest  = 0x1.fffffep127
	)
	for _, tc := range []struct {
		name          string
		a, b, c, want float32
	}{
		{"exact", 2, 3, 4, 10},
		{"product rounded first would lose the low bits", 1 + ulp, 1 - ulp, -1, -ulp * ulp},
		{"tie to even, down", 1, 1, ulp / 2, 1},
		{"tie to even, up", 1, 1 + ulp, ulp / 2, 1 + 2*ulp},
		{"just above a tie", ulp / 2, 1 + ulp, 1, 1 + ulp},
		{"2^-70 above a tie, which float64 loses", -(1 + ulp) * ulp / 2, 1 - ulp, 1 + ulp, 1 + ulp},
		{"2^-70 below a tie, which float64 loses", (1 + ulp) * ulp / 2, 1 - ulp, 1 + ulp, 1 + ulp},
		{"subnormal exact", smallest, 3, smallest, 4 * smallest},
		{"subnormal tie to even", smallest, 0.5, smallest, 2 * smallest},
		{"subnormal tie to zero", smallest, 0.5, 0, 0},
		{"subnormal just above the tie", 0x1p-100, 0x1.000002p-50, 0, smallest},
		{"subnormal tie and a little, lost by float64", 0x1.8p-100, 0x1p-50, 0x1p-127, 0x1p-127 + smallest},
		{"rounds up into the normal numbers", normal, 1 - ulp/4, 0, normal},
		{"below half the smallest", 0x1p-100, 0x1p-100, 0, 0},
		{"below half the smallest, negative", -0x1p-100, 0x1p-100, 0, float32(math.Copysign(0, -1))},
		{"cancels to +0", 3, 5, -15, 0},
		{"-0 + -0", -1, 0, float32(math.Copysign(0, -1)), float32(math.Copysign(0, -1))},
		{"-0 + +0", -1, 0, 0, 0},
		{"largest stays", largest, 1, 0x1p102, largest},
		{"largest and half a unit overflows", largest, 1, 0x1p103, float32(math.Inf(1))},
		{"product overflows, sum does not", largest, 2, -largest, largest},
		{"infinite", float32(math.Inf(1)), -1, 1, float32(math.Inf(-1))},
		{"infinity times 0", float32(math.Inf(1)), 0, 1, float32(math.NaN())},
		{"infinity less infinity", float32(math.Inf(1)), 1, float32(math.Inf(-1)), float32(math.NaN())},
	} {
		if got := FMA(tc.a, tc.b, tc.c); !sameBits(got, tc.want) {
			t.Errorf("%s: FMA(%x, %x, %x) = %x, want %x", tc.name, tc.a, tc.b, tc.c, got, tc.want)
		}
	}
}

// hardFMA draws operands that are likely to be hard: sums near ties, products
// that cancel c or lie far below it, results around the subnormal numbers.
func hardFMA(r *rand.Rand) (a, b, c float32) {
	draw := func(lo, hi int) float32 {
		m := 0x800000 | r.Uint32N(0x800000)
		switch r.IntN(4) {
		case 0:
			m = 0x800000 | 1<<r.IntN(23) // few bits
		case 1:
			m = 0xffffff &^ (1 << r.IntN(23)) // many
		}
		x := float32(math.Ldexp(float64(m), lo+r.IntN(hi-lo+1)-23))
		if r.IntN(2) == 0 {
			return -x
		}
		return x
	}
	switch r.IntN(5) {
	case 0: // any bits but NaN's
		for _, x := range []*float32{&a, &b, &c} {
			*x = math.Float32frombits(r.Uint32N(0xff000000))
			if *x != *x {
				*x = 0
			}
		}
	case 1: // c is the product, or nearly, the other way round
		a, b = draw(-10, 10), draw(-10, 10)
		c = -a * b
		c = math.Float32frombits(bitsOf(c) + r.Uint32N(3) - 1)
	case 2: // c is short and the product is half its last unit, and a little
		e := r.IntN(40) - 20
		c = float32(math.Ldexp(float64(0x800000|r.Uint32N(0x800000)), e-23))
		a = float32(math.Ldexp(1+float64(r.IntN(3)-1)*0x1p-23, e-24))
		b = 1 + float32(r.IntN(3)-1)*0x1p-23
		if r.IntN(2) == 0 {
			a = -a
		}
	case 3: // c is halfway already in what the product leaves to it
		a, b, c = draw(-20, 0), draw(-60, 0), draw(-30, 10)
	case 4: // around the smallest normal number
		a, b = draw(-75, -60), draw(-75, -60)
		c = math.Float32frombits(r.Uint32N(0x1000000) | r.Uint32N(2)<<31)
	}
	return a, b, c
}

func TestFMAMatchesLongArithmetic(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	slow := 0
	for range draws(200_000) {
		a, b, c := hardFMA(r)
		if got, want := FMA(a, b, c), exactFMA(a, b, c); !sameBits(got, want) {
			t.Fatalf("FMA(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
		p := float64(a) * float64(b)
		s := p + float64(c)
		if rounding(s) && float32(s) != float32(toOdd(p, float64(c), s)) {
			slow++
		}
	}
	if slow < draws(1000) {
		t.Errorf("only %d of the sums needed rounding to odd: they are too easy", slow)
	}
}

func TestFMAMatchesHardware(t *testing.T) {
	if !supported(avx2) {
		t.Skip("needs a processor with AVX2 and FMA")
	}
	useKernel(t, "avx2")
	r := rand.New(rand.NewPCG(3, 4))
	var b, c, want [Lanes]float32
	tile := Tile{Rows: 1, Columns: 1}
	for range draws(300_000) {
		var a float32
		a, b[0], c[0] = hardFMA(r)
		for j := range c {
			if j > 0 {
				_, b[j], c[j] = hardFMA(r)
			}
			want[j] = FMA(a, b[j], c[j])
		}
		before := c
		Chain(c[:], []float32{a}, b[:], &tile, []Block{{K: 1}})
		for j := range c {
			if !sameBits(c[j], want[j]) {
				t.Fatalf("FMA(%x, %x, %x) = %x, the processor's is %x", a, b[j], before[j], want[j], c[j])
			}
		}
	}
}

func FuzzFMA(f *testing.F) {
	f.Add(uint32(0x3f800000), uint32(0x3f800001), uint32(0x33800000))
	f.Add(uint32(0x00000001), uint32(0x3f000000), uint32(0x80000001))
	f.Add(uint32(0x7f7fffff), uint32(0x40000000), uint32(0xff7fffff))
	f.Fuzz(func(t *testing.T, x, y, z uint32) {
		a, b, c := math.Float32frombits(x), math.Float32frombits(y), math.Float32frombits(z)
		if !finitePortable([]float32{a, b, c}) {
			t.Skip("an operand is not finite")
		}
		if got, want := FMA(a, b, c), exactFMA(a, b, c); !sameBits(got, want) {
			t.Errorf("FMA(%x, %x, %x) = %x, want %x", a, b, c, got, want)
		}
	})
}
