package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/ptx"
)

// Flags of a launch, as product.cu has them.
const (
	wideA, wideB = 1, 2
	adds, relu   = 4, 8
)

// product is a launch of product.cu.
type product struct {
	mode    string // f32, tf32, bf16
	form    string // nn, nt, tn
	m, n, k int
	flags   uint32
	bias    bool
	slope   float32
}

func (p product) String() string {
	return fmt.Sprintf("%s_%s of %dx%dx%d, flags %d, bias %v, slope %v", p.mode, p.form, p.m, p.n, p.k, p.flags, p.bias, p.slope)
}

// matrix is one by rows of stride values, some beyond its width.
type matrix struct {
	values []float32
	stride int
}

func newMatrix(rows, cols, stride int, seed uint64) matrix {
	m := matrix{make([]float32, rows*stride), stride}
	x := random(rows*cols, seed)
	for i := range m.values {
		m.values[i] = float32(math.NaN()) // which nobody may take
	}
	for r := range rows {
		copy(m.values[r*stride:], x[r*cols:(r+1)*cols])
	}
	return m
}

func (m matrix) at(row, col int, transposed bool) float32 {
	if transposed {
		row, col = col, row
	}
	return m.values[row*m.stride+col]
}

// rounded is a factor as tensor cores take it.
func rounded(mode string, x float32) float32 {
	b := math.Float32bits(x)
	switch mode {
	case "tf32":
		return math.Float32frombits((b + 0x1000) &^ 0x1fff)
	case "bf16":
		return math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
	}
	return x
}

// run runs a product, checks what lies around C, and returns it, and what it should be:
// of f32 to the bit, else in float64.
func (p product) run(t *testing.T) (got []float32, exact []float32, want []float64) {
	t.Helper()
	pad := 1 // so that strides differ from widths
	if p.flags&(wideA|wideB) != 0 {
		pad = 4
	}
	up := func(n int) int { return (n+pad-1)/pad*pad + pad }
	ta, tb := p.form == "tn", p.form == "nt"
	a, b := newMatrix(p.m, p.k, up(p.k), 11), newMatrix(p.k, p.n, up(p.n), 12)
	if ta {
		a = newMatrix(p.k, p.m, up(p.m), 11)
	}
	if tb {
		b = newMatrix(p.n, p.k, up(p.k), 12)
	}
	c := newMatrix(p.m, p.n, p.n+3, 13)
	bias := random(p.n, 14)

	m := ptx.NewMemory()
	atC, atBias := m.Floats(c.values), uint64(0)
	if p.bias {
		atBias = m.Floats(bias)
	}
	blocks := (p.m + 63) / 64 * ((p.n + 63) / 64)
	err := load(t, "product", "product_"+p.mode+"_"+p.form).Run(m, ptx.Launch{Grid: [3]int{blocks}, Block: [3]int{128}, Args: []any{
		atC, m.Floats(a.values), m.Floats(b.values), atBias, uint32(p.m), uint32(p.n), uint32(p.k), uint32(a.stride), uint32(b.stride), uint32(c.stride), p.flags, p.slope,
	}})
	if err != nil {
		t.Fatalf("%v: %v", p, err)
	}
	after := m.ReadFloats(atC, len(c.values))
	for row := range p.m {
		for col := range p.n {
			got = append(got, after[row*c.stride+col])
			chain, sum := float32(0), 0.0
			if p.flags&adds != 0 {
				chain = c.at(row, col, false)
				sum = float64(chain)
			}
			for i := range p.k {
				x, y := a.at(row, i, ta), b.at(i, col, tb)
				chain = kernel.FMA(x, y, chain)
				sum += float64(rounded(p.mode, x)) * float64(rounded(p.mode, y))
			}
			if p.bias {
				chain += bias[col]
				sum += float64(bias[col])
			}
			if p.flags&relu != 0 {
				chain, sum = max(chain, 0), max(sum, 0)
			} else {
				if !(chain > 0) {
					chain *= p.slope
				}
				if sum <= 0 {
					sum *= float64(p.slope)
				}
			}
			exact, want = append(exact, chain), append(want, sum)
		}
		for _, x := range after[row*c.stride+p.n : (row+1)*c.stride] {
			if x == x {
				t.Fatalf("%v: row %d was written beyond its end", p, row)
			}
		}
	}
	return got, exact, want
}

func TestProductsOfF32HaveTheBitsOfTheCPU(t *testing.T) {
	for _, p := range []product{
		{"f32", "nn", 1, 1, 1, 0, false, 1},
		{"f32", "nn", 64, 64, 16, wideA | wideB, false, 1},
		{"f32", "nn", 70, 65, 37, 0, true, 1},
		{"f32", "nt", 65, 3, 50, wideA, false, 1},
		{"f32", "nt", 5, 130, 33, wideB, true, 0.1},
		{"f32", "tn", 66, 67, 20, relu, true, 1},
		{"f32", "tn", 64, 128, 48, wideA | wideB | adds, false, 1},
		{"f32", "nn", 3, 200, 17, adds, true, 0.1},
	} {
		got, exact, _ := p.run(t)
		sameBits(t, p.String(), got, exact)
	}
}

func TestProductsOfTensorCoresAreThoseOfRoundedFactors(t *testing.T) {
	for _, mode := range []string{"tf32", "bf16"} {
		for _, p := range []product{
			{mode, "nn", 1, 1, 1, 0, false, 1},
			{mode, "nn", 64, 64, 16, wideA | wideB, false, 1},
			{mode, "nn", 70, 65, 37, 0, true, 1},
			{mode, "nt", 65, 3, 50, wideA, false, 1},
			{mode, "nt", 5, 130, 33, wideB, true, 0.1},
			{mode, "tn", 66, 67, 20, relu, true, 1},
			{mode, "tn", 64, 128, 48, wideA | wideB | adds, false, 1},
			{mode, "nn", 3, 200, 17, adds, true, 0.1},
		} {
			got, _, want := p.run(t)
			scale := 0.0
			for _, x := range want {
				scale = max(scale, math.Abs(x))
			}
			for i := range want {
				if !(math.Abs(float64(got[i])-want[i]) <= 1e-6*scale) {
					t.Fatalf("%v: output %d is %v, want %v", p, i, got[i], want[i])
				}
			}
		}
	}
}

// A NaN among the factors comes out, whatever the activation.
func TestProductsPassNaNsOn(t *testing.T) {
	nan := float32(math.NaN())
	for _, mode := range []string{"f32", "tf32", "bf16"} {
		m := ptx.NewMemory()
		c := m.Floats(make([]float32, 1))
		err := load(t, "product", "product_"+mode+"_nn").Run(m, ptx.Launch{Block: [3]int{128}, Args: []any{
			c, m.Floats([]float32{1, nan}), m.Floats([]float32{2, 3}), uint64(0), uint32(1), uint32(1), uint32(2), uint32(2), uint32(1), uint32(1), uint32(relu), float32(1),
		}})
		if x := m.ReadFloats(c, 1)[0]; err != nil || x == x {
			t.Errorf("%s: %v, %v; want NaN", mode, x, err)
		}
	}
}
