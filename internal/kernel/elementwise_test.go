package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The references round each operation by way of float64, which holds a product
// of two float32s and rounds their sum so that rounding it again does no harm.

func product(x, y float32) float32 { return float32(float64(x) * float64(y)) }
func sum(x, y float32) float32     { return float32(float64(x) + float64(y)) }

func naiveMomentum(w, v, g, scale, lr, mu, decay float32) (w2, v2 float32) {
	d := sum(product(g, scale), product(decay, w))
	v2 = sum(product(mu, v), -product(lr, d))
	return sum(w, v2), v2
}

func naiveNesterov(w, v, g, scale, lr, mu, decay float32) (w2, v2 float32) {
	d := sum(product(g, scale), product(decay, w))
	v2 = sum(product(mu, v), -product(lr, d))
	return sum(w, sum(product(mu, v2), -product(lr, d))), v2
}

// updates are the kinds of momentum, each with its definition.
var updates = []struct {
	name  string
	apply func(w2, v2, w, v, g []float32, scale, lr, mu, decay float32, far bool) bool
	naive func(w, v, g, scale, lr, mu, decay float32) (w2, v2 float32)
}{
	{"Momentum", Momentum, naiveMomentum},
	{"Nesterov", Nesterov, naiveNesterov},
}

func TestUpdatesFollowTheirDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(13, 14))
		for _, u := range updates {
			for n := range 70 {
				from := r.IntN(9) // so that vectors begin anywhere
				w, v, g := operands(r, from+n)[from:], operands(r, from+n)[from:], operands(r, from+n)[from:]
				scale, lr, mu, decay := r.Float32(), r.Float32(), r.Float32(), r.Float32()
				wantW, wantV := make([]float32, n), make([]float32, n)
				for i := range n {
					wantW[i], wantV[i] = u.naive(w[i], v[i], g[i], scale, lr, mu, decay)
				}

				// One value more than the result has must stay.
				gotW, gotV := make([]float32, n+1), make([]float32, n+1)
				u.apply(gotW[:n], gotV[:n], w, v, g, scale, lr, mu, decay, false)
				compare(t, fmt.Sprintf("%s of %d: w", u.name, n), gotW, append(wantW, 0))
				compare(t, fmt.Sprintf("%s of %d: v", u.name, n), gotV, append(wantV, 0))

				u.apply(w, v, w, v, g, scale, lr, mu, decay, false)
				compare(t, fmt.Sprintf("%s of %d in place: w", u.name, n), w, wantW)
				compare(t, fmt.Sprintf("%s of %d in place: v", u.name, n), v, wantV)
			}
		}
	})
}

// Far results are those of near ones, up to the last value.
func TestFarUpdatesHaveTheSameBits(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(131, 141))
		for _, u := range updates {
			for n := range 70 {
				w, v, g := operands(r, n), operands(r, n), operands(r, n)
				wantW, wantV := make([]float32, n+1), make([]float32, n+1)
				u.apply(wantW[:n], wantV[:n], w, v, g, 0.5, 0.1, 0.9, 0.01, false)
				w2, v2 := aligned(make([]float32, n+1)), aligned(make([]float32, n+1))
				u.apply(w2[:n], v2[:n], w, v, g, 0.5, 0.1, 0.9, 0.01, true)
				compare(t, fmt.Sprintf("%s of %d: w", u.name, n), w2, wantW)
				compare(t, fmt.Sprintf("%s of %d: v", u.name, n), v2, wantV)
			}
		}
	})
}

// One parameter that overflows is found wherever it stands, and a large one
// beside it is not taken for one.
func TestUpdatesTellWhetherParametersAreFinite(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		for _, u := range updates {
			for _, far := range []bool{false, true} {
				for _, n := range []int{1, 7, 8, 16, 17, 33, 50} {
					w, v, g := aligned(make([]float32, n)), aligned(make([]float32, n)), make([]float32, n)
					apply := func() bool {
						w2, v2 := aligned(make([]float32, n)), aligned(make([]float32, n))
						return u.apply(w2, v2, w, v, g, 1, 1, 0.5, 0, far)
					}
					for i := range n {
						g[i] = math.MaxFloat32 / 2
					}
					if !apply() {
						t.Fatalf("%s of %d values, far %v: finite parameters are not", u.name, n, far)
					}
					for i := range n {
						w[i] = -math.MaxFloat32
						if apply() {
							t.Errorf("%s of %d values, far %v: an infinite parameter at %d was not seen", u.name, n, far, i)
						}
						w[i], v[i] = 0, float32(math.NaN())
						if apply() {
							t.Errorf("%s of %d values, far %v: a NaN at %d was not seen", u.name, n, far, i)
						}
						v[i] = 0
					}
				}
			}
		}
	})
}

// The two common kinds of momentum differ as soon as the rate changes: in this
// one the rate scales what enters the velocity, not the velocity.
func TestMomentumKeepsThePastWhenTheRateFalls(t *testing.T) {
	w, v := []float32{1}, []float32{0}
	Momentum(w, v, w, v, []float32{4}, 0.5, 0.25, 0.5, 0, false) // d = 2
	if w[0] != 0.5 || v[0] != -0.5 {
		t.Fatalf("after the first step w, v = %v, %v, want 0.5, -0.5", w[0], v[0])
	}
	Momentum(w, v, w, v, []float32{4}, 0.5, 0, 0.5, 0, false)
	if w[0] != 0.25 || v[0] != -0.25 {
		t.Errorf("after a step at rate 0 w, v = %v, %v, want 0.25, -0.25", w[0], v[0])
	}
}

func TestAddAddsValueByValue(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(15, 16))
		for n := range 70 {
			from := r.IntN(9)
			x, y := operands(r, from+n)[from:], operands(r, from+n)[from:]
			want := make([]float32, n)
			for i := range want {
				want[i] = sum(x[i], y[i])
			}
			got := make([]float32, n+1)
			Add(got[:n], x, y)
			compare(t, fmt.Sprintf("sum of %d", n), got, append(slices.Clone(want), 0))
			inY := slices.Clone(y)
			Add(inY, x, inY)
			compare(t, fmt.Sprintf("sum of %d into y", n), inY, want)
			Add(x, x, y)
			compare(t, fmt.Sprintf("sum of %d into x", n), x, want)
		}
	})
}

func TestFiniteFindsOneBadValueAnywhere(t *testing.T) {
	bad := []uint32{0x7f800000, 0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001, 0xff8fffff}
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(17, 18))
		for n := range 50 {
			x := operands(r, n)
			if n > 2 {
				x[0], x[n-1] = math.MaxFloat32, -math.MaxFloat32
			}
			if !Finite(x) {
				t.Fatalf("Finite = false for %v", x)
			}
			for i := range x {
				for _, bits := range bad {
					was := x[i]
					x[i] = math.Float32frombits(bits)
					if Finite(x) {
						t.Errorf("Finite = true with %#x at %d of %d", bits, i, n)
					}
					x[i] = was
				}
			}
		}
	})
}

// Values beyond the slice are not looked at, however the vectors fall.
func TestFiniteStopsAtTheEnd(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		for n := range 40 {
			x := make([]float32, n+8)
			for i := n; i < len(x); i++ {
				x[i] = float32(math.NaN())
			}
			if !Finite(x[:n]) {
				t.Errorf("Finite = false for %d zeros before a NaN", n)
			}
		}
	})
}
