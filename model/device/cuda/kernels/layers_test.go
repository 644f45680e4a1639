package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/muster-train/muster/internal/ptx"
)

// Kinds of activate, as layers.cu has them.
const (
	kindReLU, kindLeaky, kindSoftplus = 0, 1, 2
)

func near(t *testing.T, what string, got []float32, want []float64, tolerance float64) {
	t.Helper()
	for i := range want {
		if !(math.Abs(float64(got[i])-want[i]) <= tolerance*max(1, math.Abs(want[i]))) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestActivationsAndTheirGradients(t *testing.T) {
	x := append([]float32{0, float32(math.Copysign(0, -1)), 90, -90, 1e-3, -1e-3}, random(500, 21)...)
	dy := random(len(x), 22)
	const slope = float32(0.1)
	for kind, f := range map[uint32]func(x float64) (y, slope float64){
		kindReLU: func(x float64) (float64, float64) { return max(x, 0), map[bool]float64{true: 1}[x > 0] },
		kindLeaky: func(x float64) (float64, float64) {
			return max(x, float64(slope)*x), map[bool]float64{true: 1, false: float64(slope)}[x > 0]
		},
		kindSoftplus: func(x float64) (float64, float64) {
			return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))), 1 / (1 + math.Exp(-x))
		},
	} {
		m := ptx.NewMemory()
		at, from, back := m.Alloc(4*len(x)), m.Floats(x), m.Alloc(4*len(x))
		launch(t, load(t, "layers", "activate"), m, at, from, kind, slope, uint32(len(x)))
		launch(t, load(t, "layers", "activate_back"), m, back, m.Floats(dy), from, kind, slope, uint32(len(x)))
		var y, dx []float64
		for i, v := range x {
			value, by := f(float64(v))
			y, dx = append(y, value), append(dx, float64(dy[i])*by)
		}
		tolerance := 0.0
		if kind == kindSoftplus {
			tolerance = 1e-6
		}
		if kind == kindLeaky {
			tolerance = 1e-7
		}
		near(t, fmt.Sprintf("activation %d", kind), m.ReadFloats(at, len(x)), y, tolerance)
		near(t, fmt.Sprintf("gradient of activation %d", kind), m.ReadFloats(back, len(x)), dx, max(tolerance, 1e-7))
		in := m.Floats(append([]float32{float32(math.NaN())}, x...))
		launch(t, load(t, "layers", "activate"), m, in, in, kind, slope, uint32(len(x)+1)) // in place
		if got := m.ReadFloats(in, 1)[0]; got == got {
			t.Errorf("activation %d of NaN is %v", kind, got)
		}
	}
}

// window is the geometry of pooling.
type window struct{ height, width, outHeight, outWidth, kernel, stride, top, left int }

func (w window) args() (all []any) {
	for _, x := range []int{w.height, w.width, w.outHeight, w.outWidth, w.kernel, w.stride, w.top, w.left} {
		all = append(all, uint32(int32(x)))
	}
	return all
}

func TestPoolingAndItsGradient(t *testing.T) {
	const planes = 3
	for _, w := range []window{
		{8, 8, 4, 4, 2, 2, 0, 0},
		{7, 9, 3, 4, 3, 2, 0, 0},
		{6, 6, 3, 3, 3, 2, 0, 0}, // the last windows are clipped
		{5, 4, 5, 4, 3, 1, 1, 1},
		{1, 1, 1, 1, 3, 2, 1, 1},
		{10, 3, 3, 1, 3, 4, 0, 0}, // some pixels are in no window
	} {
		x := random(planes*w.height*w.width, 31)
		for i := range x {
			x[i] = float32(int(x[i]) % 3) // many are equal
		}
		outputs := w.outHeight * w.outWidth
		dy := random(planes*outputs, 32)
		y, dx := make([]float64, planes*outputs), make([]float64, len(x))
		for p := range planes {
			for o := range outputs {
				best, from := math.Inf(-1), -1
				y0, x0 := o/w.outWidth*w.stride-w.top, o%w.outWidth*w.stride-w.left
				for r := max(y0, 0); r < min(y0+w.kernel, w.height); r++ {
					for c := max(x0, 0); c < min(x0+w.kernel, w.width); c++ {
						if v := float64(x[(p*w.height+r)*w.width+c]); v > best {
							best, from = v, r*w.width+c
						}
					}
				}
				y[p*outputs+o] = best
				dx[p*w.height*w.width+from] += float64(dy[p*outputs+o])
			}
		}
		m := ptx.NewMemory()
		out, from, back := m.Alloc(4*len(y)), m.Alloc(4*len(y)), m.Alloc(4*len(x))
		launch(t, load(t, "layers", "max_pool"), m, append(append([]any{out, from, m.Floats(x)}, w.args()...), uint32(planes))...)
		launch(t, load(t, "layers", "max_pool_back"), m, append(append([]any{back, m.Floats(dy), from}, w.args()...), uint32(planes))...)
		near(t, fmt.Sprintf("pooling %v", w), m.ReadFloats(out, len(y)), y, 0)
		near(t, fmt.Sprintf("gradient of pooling %v", w), m.ReadFloats(back, len(x)), dx, 1e-6)
	}
}

func TestPoolingPassesNaNsOn(t *testing.T) {
	nan := float32(math.NaN())
	w := window{2, 2, 1, 1, 2, 2, 0, 0}
	m := ptx.NewMemory()
	out, from := m.Alloc(4), m.Alloc(4)
	launch(t, load(t, "layers", "max_pool"), m, append(append([]any{out, from, m.Floats([]float32{1, nan, 5, nan})}, w.args()...), uint32(1))...)
	if y := m.ReadFloats(out, 1)[0]; y == y {
		t.Errorf("the largest of 1, NaN, 5, NaN is %v", y)
	}
	if at := math.Float32bits(m.ReadFloats(from, 1)[0]); at != 1 {
		t.Errorf("it is from pixel %d, want the first NaN, 1", at)
	}
}

// TestNormalisationAndItsGradient compares with float64, and the gradient with the
// difference that a small change makes.
func TestNormalisationAndItsGradient(t *testing.T) {
	const channels, pixels = 7, 11
	x, dy := random(channels*pixels, 41), random(channels*pixels, 42)
	for i := range x {
		x[i] = float32(math.Mod(float64(x[i]), 3))
		dy[i] = float32(math.Mod(float64(dy[i]), 3))
	}
	const before, after = 1, 2
	const k, alpha, beta = float32(2), float32(0.5), float32(0.75)
	forward := func(x []float64) []float64 {
		y := make([]float64, len(x))
		for c := range channels {
			for p := range pixels {
				sum := 0.0
				for j := max(0, c-before); j <= min(channels-1, c+after); j++ {
					sum += x[j*pixels+p] * x[j*pixels+p]
				}
				y[c*pixels+p] = x[c*pixels+p] * math.Pow(float64(k)+float64(alpha)*sum, -float64(beta))
			}
		}
		return y
	}
	wide := make([]float64, len(x))
	for i, v := range x {
		wide[i] = float64(v)
	}
	m := ptx.NewMemory()
	from, y, d, dx := m.Floats(x), m.Alloc(4*len(x)), m.Alloc(4*len(x)), m.Alloc(4*len(x))
	launch(t, load(t, "layers", "lrn"), m, y, d, from, uint32(before), uint32(after), k, alpha, beta, uint32(channels), uint32(pixels))
	near(t, "normalisation", m.ReadFloats(y, len(x)), forward(wide), 1e-6)
	launch(t, load(t, "layers", "lrn_back"), m, dx, m.Floats(dy), from, y, d, uint32(before), uint32(after), alpha, beta, uint32(channels), uint32(pixels))
	want := make([]float64, len(x))
	const step = 1e-5
	for i := range wide {
		had := wide[i]
		wide[i] = had + step
		up := forward(wide)
		wide[i] = had - step
		down := forward(wide)
		wide[i] = had
		for j := range up {
			want[i] += float64(dy[j]) * (up[j] - down[j]) / (2 * step)
		}
	}
	near(t, "gradient of normalisation", m.ReadFloats(dx, len(x)), want, 3e-6)
}

func TestBiasGradientsAreThoseOfAShard(t *testing.T) {
	const channels, pixels = 3, 1000
	dy := random(channels*pixels, 51)
	for _, shard := range [][2]int{{0, 1000}, {100, 1}, {37, 300}, {500, 0}} {
		first, count := shard[0], shard[1]
		want, scale := make([]float64, channels), 0.0
		for c := range channels {
			for _, v := range dy[c*pixels+first : c*pixels+first+count] {
				want[c] += float64(v)
				scale += math.Abs(float64(v))
			}
		}
		m := ptx.NewMemory()
		g := m.Alloc(4 * channels)
		l := ptx.Launch{Grid: [3]int{channels}, Block: [3]int{128}, Args: []any{g, m.Floats(dy), uint32(pixels), uint32(first), uint32(count)}}
		if err := load(t, "layers", "bias_gradient").Run(m, l); err != nil {
			t.Fatal(err)
		}
		near(t, "bias gradient", m.ReadFloats(g, channels), want, 1e-6*scale)
	}
}
