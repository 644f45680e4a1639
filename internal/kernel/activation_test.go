package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// marked draws n values, some of them zeros of both signs, infinities, the
// smallest and the largest numbers, and with nans NaNs of both signs.
func marked(r *rand.Rand, n int, nans bool) []float32 {
	special := []uint32{0, 0x80000000, 0x7f800000, 0xff800000, 1, 0x80000001, 0x7f7fffff, 0xff7fffff}
	if nans {
		special = append(special, 0x7fc00000, 0xffc00000, 0x7f800001, 0xffffffff)
	}
	x := operands(r, n)
	for i := range x {
		if r.IntN(4) == 0 {
			x[i] = math.Float32frombits(special[r.IntN(len(special))])
		}
	}
	return x
}

// naiveReLU follows max's rules by hand: a zero is +0 whatever its sign.
func naiveReLU(x float32) float32 {
	if x > 0 || x != x {
		return x
	}
	return 0
}

func TestActivationsFollowTheirDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(31, 32))
		for n := range 100 {
			from := r.IntN(9) // so that vectors begin anywhere
			x, dy := marked(r, from+n, true)[from:], marked(r, from+n, true)[from:]
			slope := []float32{0.01, 0, 1, 2.5, -0.5}[r.IntN(5)]
			var want [4][]float32
			for i, v := range x {
				leaky, leakyBack, back := product(v, slope), product(dy[i], slope), float32(0)
				if v > 0 {
					leaky, leakyBack, back = v, dy[i], dy[i]
				}
				for k, w := range []float32{naiveReLU(v), back, leaky, leakyBack} {
					want[k] = append(want[k], w)
				}
			}
			for k, tc := range []struct {
				name string
				run  func(to []float32)
				over []float32 // the operand that the result may be
			}{
				{"ReLU", func(y []float32) { ReLU(y, x) }, x},
				{"ReLUBack", func(dx []float32) { ReLUBack(dx, dy, x) }, dy},
				{"LeakyReLU", func(y []float32) { LeakyReLU(y, x, slope) }, x},
				{"LeakyReLUBack", func(dx []float32) { LeakyReLUBack(dx, dy, x, slope) }, dy},
			} {
				got := make([]float32, n+1) // one more, which must stay
				tc.run(got[:n])
				compare(t, fmt.Sprintf("%s of %d", tc.name, n), got, append(want[k], 0))
				was := slices.Clone(tc.over)
				tc.run(tc.over)
				compare(t, fmt.Sprintf("%s of %d in place", tc.name, n), tc.over, want[k])
				copy(tc.over, was)
			}
		}
	})
}

// Leaky ReLU with a slope of 0 keeps the sign of zeros that ReLU drops.
func TestReLUGivesPlusZero(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		x, y := make([]float32, 40), make([]float32, 40)
		for i := range x {
			x[i] = float32(math.Copysign(float64(i&1), -1))
		}
		ReLU(y, x)
		compare(t, "ReLU of -0 and -1", y, make([]float32, 40))
		LeakyReLU(y, x, 0)
		for i, v := range y {
			if !math.Signbit(float64(v)) {
				t.Errorf("LeakyReLU(%v) with slope 0 = %v, want -0", x[i], v)
			}
		}
	})
}

func TestPositiveTellsSigns(t *testing.T) {
	for _, v := range []float64{
		0, math.Copysign(0, -1), 1, -1, 1e-45, -1e-45, math.Inf(1), math.Inf(-1), 3.4e38, -3.4e38,
		math.NaN(), math.Copysign(math.NaN(), -1),
	} {
		want := uint32(0)
		if v > 0 {
			want = math.MaxUint32
		}
		if got := positive(float32(v)); got != want {
			t.Errorf("positive(%g) = %#x, want %#x", v, got, want)
		}
	}
}
