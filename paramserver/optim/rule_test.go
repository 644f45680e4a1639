package optim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// literal is Apply as its comment states it, value by value, each operation
// rounded to float32.
func literal(r Rule, w, v, g, scale, lr float32) (w2, v2 float32) {
	d := float32(scale*g) + float32(r.WeightDecay*w)
	v2 = float32(r.Momentum*v) - float32(lr*d)
	if r.Nesterov {
		return w + (float32(r.Momentum*v2) - float32(lr*d)), v2
	}
	return w + v2, v2
}

func vectors(n int, seed uint64) (w, v, g []float32) {
	rng := rand.New(rand.NewPCG(seed, 7))
	for _, x := range []*[]float32{&w, &v, &g} {
		*x = make([]float32, n)
		for i := range *x {
			(*x)[i] = float32(rng.NormFloat64())
		}
	}
	return w, v, g
}

var rules = []Rule{
	{},
	{Momentum: 0.9},
	{Momentum: 0.9, WeightDecay: 2e-4},
	{WeightDecay: 5e-4},
	{Momentum: 0.9, WeightDecay: 2e-4, Nesterov: true},
	{Momentum: 0.5, Nesterov: true},
}

func TestApplyHasTheBitsOfItsFormula(t *testing.T) {
	for _, r := range rules {
		for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 63, 64, 100, 1029} {
			t.Run(fmt.Sprintf("%+v/%d", r, n), func(t *testing.T) {
				w, v, g := vectors(n, uint64(n)+1)
				w2, v2 := make([]float32, n), make([]float32, n)
				const scale, lr = float32(1.0 / 128), float32(0.1)
				r.Apply(w2, v2, w, v, g, scale, lr, false)
				for i := range w {
					wantW, wantV := literal(r, w[i], v[i], g[i], scale, lr)
					if w2[i] != wantW || v2[i] != wantV {
						t.Fatalf("value %d: w %v v %v, want %v %v", i, w2[i], v2[i], wantW, wantV)
					}
				}
				r.Apply(w, v, w, v, g, scale, lr, false) // in place
				for i := range w {
					if w[i] != w2[i] || v[i] != v2[i] {
						t.Fatalf("value %d in place: w %v v %v, want %v %v", i, w[i], v[i], w2[i], v2[i])
					}
				}
			})
		}
	}
}

// Twenty steps under a falling rate stay close to the same steps in float64.
func TestApplyFollowsFloat64(t *testing.T) {
	s := mustParse(t, "discexp:0.5,5", 0.1, 0)
	for _, r := range rules {
		const n = 200
		w, v, _ := vectors(n, 3)
		wantW, wantV := make([]float64, n), make([]float64, n)
		for i := range n {
			wantW[i], wantV[i] = float64(w[i]), float64(v[i])
		}
		for step := range 20 {
			_, _, g := vectors(n, uint64(100+step))
			lr := s.Rate(Progress{Samples: uint64(step)})
			r.Apply(w, v, w, v, g, 0.25, lr, false)
			mu, eta := float64(r.Momentum), float64(lr)
			for i := range n {
				d := 0.25*float64(g[i]) + float64(r.WeightDecay)*wantW[i]
				wantV[i] = mu*wantV[i] - eta*d
				if r.Nesterov {
					wantW[i] += mu*wantV[i] - eta*d
				} else {
					wantW[i] += wantV[i]
				}
			}
		}
		for i := range n {
			if math.Abs(float64(w[i])-wantW[i]) > 1e-5 || math.Abs(float64(v[i])-wantV[i]) > 1e-5 {
				t.Fatalf("%+v value %d: w %v v %v, want %v %v", r, i, w[i], v[i], wantW[i], wantV[i])
			}
		}
	}
}

// At a constant rate both forms agree with PyTorch's SGD, u = mu*u + d and
// w -= lr*u or w -= lr*(d + mu*u), whose velocity has the rate outside.
func TestApplyAgreesWithTorchAtAConstantRate(t *testing.T) {
	const n, scale, lr = 50, 0.5, 0.05
	for _, r := range rules {
		w, _, _ := vectors(n, 4)
		v := make([]float32, n)
		want, u := make([]float64, n), make([]float64, n)
		for i := range n {
			want[i] = float64(w[i])
		}
		for step := range 15 {
			_, _, g := vectors(n, uint64(step))
			r.Apply(w, v, w, v, g, scale, lr, false)
			mu := float64(r.Momentum)
			for i := range n {
				d := scale*float64(g[i]) + float64(r.WeightDecay)*want[i]
				u[i] = mu*u[i] + d
				move := u[i]
				if r.Nesterov {
					move = d + mu*u[i]
				}
				want[i] -= lr * move
			}
		}
		for i := range n {
			if math.Abs(float64(w[i])-want[i]) > 1e-5 {
				t.Fatalf("%+v value %d: %v, want %v", r, i, w[i], want[i])
			}
		}
	}
}

func TestRulesOutOfRangeAreNamed(t *testing.T) {
	nan := float32(math.NaN())
	for _, tc := range []struct {
		rule Rule
		want string
	}{
		{Rule{Momentum: 1}, "momentum 1:"},
		{Rule{Momentum: -0.1}, "momentum -0.1:"},
		{Rule{Momentum: nan}, "momentum NaN:"},
		{Rule{WeightDecay: -1}, "weight decay -1:"},
		{Rule{WeightDecay: nan}, "weight decay NaN:"},
		{Rule{WeightDecay: inf32}, "weight decay +Inf:"},
	} {
		if err := tc.rule.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.rule, err, tc.want)
		}
	}
	for _, r := range rules {
		if err := r.Validate(); err != nil {
			t.Errorf("%+v: %v", r, err)
		}
	}
}
