package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"testing"
)

// bound is the error that the functions promise, in units in the last place.
const bound = 0.501

// units returns the error of got in units in the last place of a float32 of
// want's size.
func units(got float32, want float64) float64 {
	if float64(got) == want || math.IsNaN(want) && got != got {
		return 0
	}
	if math.Abs(want) >= math.MaxFloat32 {
		if bitsOf(got) == bitsOf(float32(want)) {
			return 0
		}
		want = math.Copysign(math.MaxFloat32, want)
	}
	e := max(math.Ilogb(want), -126)
	return math.Abs(float64(got)-want) / math.Ldexp(1, e-23)
}

// functions are those of one argument, with the platform's to compare to and
// the interval that is looked at closely besides float32s of all sizes.
var functions = []struct {
	name   string
	f      func(float32) float32
	want   func(float64) float64
	domain func(float32) bool
	lo, hi float64
}{
	{"Exp", Exp, math.Exp, nil, -104, 89},
	{"Log", Log, math.Log, nil, 0.5, 2},
	{"Log1p", Log1p, math.Log1p, nil, -0.999, 1},
	{"Sigmoid", Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, nil, -90, 20},
	{"Softplus", Softplus, func(x float64) float64 {
		return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
	}, nil, -90, 20},
	{"Cos", Cos, math.Cos, func(x float32) bool { return x >= -3.1416 && x <= 3.1416 }, -3.1416, 3.1416},
	{
		"Pow -0.75", func(x float32) float32 { return Pow(x, -0.75) }, func(x float64) float64 { return math.Pow(x, -0.75) },
		func(x float32) bool { return x > 0 && x <= math.MaxFloat32 }, 0.5, 100,
	},
}

// Whole sweeps over all 2^32 arguments take minutes; this takes every 20011th
// pattern of bits, a prime, so that signs, exponents and low bits all vary.
func TestFunctionsKeepTheirBound(t *testing.T) {
	stride := uint64(20011)
	if checked {
		stride *= 10
	}
	r := rand.New(rand.NewPCG(19, 20))
	for _, f := range functions {
		t.Run(f.name, func(t *testing.T) {
			look := func(x float32) {
				if f.domain != nil && !f.domain(x) {
					return
				}
				if got, want := f.f(x), f.want(float64(x)); units(got, want) > bound || math.IsNaN(want) != (got != got) {
					t.Fatalf("f(%x) = %x, want %x within %v units in the last place", x, got, want, bound)
				}
			}
			for bits := uint64(0); bits < 1<<32; bits += stride {
				look(math.Float32frombits(uint32(bits)))
			}
			for range draws(200_000) {
				look(float32(f.lo + (f.hi-f.lo)*r.Float64()))
			}
		})
	}
}

func TestPowKeepsItsBound(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for range draws(400_000) {
		x, y := float32(math.Exp(40*r.Float64()-20)), float32(10*r.Float64()-5)
		if got, want := Pow(x, y), math.Pow(float64(x), float64(y)); units(got, want) > bound {
			t.Fatalf("Pow(%x, %x) = %x, want %x within %v units in the last place", x, y, got, want, bound)
		}
	}
}

func TestFunctionsAtTheEdges(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, tc := range []struct {
		name      string
		got, want float32
	}{
		{"Exp(0)", Exp(0), 1},
		{"Exp(1)", Exp(1), math.E},
		{"Exp(88.72)", Exp(88.72), float32(math.Exp(float64(float32(88.72))))},
		{"Exp(89)", Exp(89), inf},
		{"Exp(-103.9)", Exp(-103.9), 0x1p-149},
		{"Exp(-104)", Exp(-104), 0},
		{"Exp(+Inf)", Exp(inf), inf},
		{"Exp(-Inf)", Exp(-inf), 0},
		{"Exp(NaN)", Exp(nan), nan},
		{"Log(1)", Log(1), 0},
		{"Log(0)", Log(0), -inf},
		{"Log(-0)", Log(float32(math.Copysign(0, -1))), -inf},
		{"Log(-1)", Log(-1), nan},
		{"Log(-Inf)", Log(-inf), nan},
		{"Log(+Inf)", Log(inf), inf},
		{"Log(NaN)", Log(nan), nan},
		{"Log(smallest)", Log(0x1p-149), -103.27893},
		{"Log1p(0)", Log1p(0), 0},
		{"Log1p(-1)", Log1p(-1), -inf},
		{"Log1p(-2)", Log1p(-2), nan},
		{"Log1p(smallest)", Log1p(0x1p-149), 0x1p-149},
		{"Log1p(+Inf)", Log1p(inf), inf},
		{"Softplus(0)", Softplus(0), math.Ln2},
		{"Softplus(+Inf)", Softplus(inf), inf},
		{"Softplus(-Inf)", Softplus(-inf), 0},
		{"Softplus(NaN)", Softplus(nan), nan},
		{"Sigmoid(0)", Sigmoid(0), 0.5},
		{"Sigmoid(+Inf)", Sigmoid(inf), 1},
		{"Sigmoid(-Inf)", Sigmoid(-inf), 0},
		{"Sigmoid(NaN)", Sigmoid(nan), nan},
		{"Pow(0, 0)", Pow(0, 0), 1},
		{"Pow(0, 2)", Pow(0, 2), 0},
		{"Pow(0, -2)", Pow(0, -2), inf},
		{"Pow(1, 1e30)", Pow(1, 1e30), 1},
		{"Pow(3, 1)", Pow(3, 1), 3},
		{"Pow(3, 4)", Pow(3, 4), 81},
		{"Pow(2, 1000)", Pow(2, 1000), inf},
		{"Pow(-1, 2)", Pow(-1, 2), nan},
		{"Cos(0)", Cos(0), 1},
		{"Cos(pi)", Cos(math.Pi), -1},
		{"Cos(-pi)", Cos(-math.Pi), -1},
	} {
		if !sameBits(tc.got, tc.want) {
			t.Errorf("%s = %x, want %x", tc.name, tc.got, tc.want)
		}
	}
}

// The hash was taken on amd64. Another one means that this build fuses or
// rearranges operations, and that its runs would not give the same bits.
func TestFunctionsGiveTheSameBitsEverywhere(t *testing.T) {
	const want = "3b1c1eee518a9c7b2318fa8e67b61d6bea0b522b4d153a96d7de0375a6d7a8d3"
	hash := sha256.New()
	write := func(x float32) {
		if x != x {
			x = 0
		}
		hash.Write(binary.LittleEndian.AppendUint32(nil, bitsOf(x)))
	}
	r := rand.New(rand.NewPCG(23, 24))
	for range 20_000 {
		x := float32(float64(200*r.Float64()) - 100)
		write(Exp(x))
		write(Sigmoid(x))
		write(Softplus(x))
		write(Cos(x / 32))
		write(Log(x * x))
		write(Log1p(x / 128))
		write(Pow(x*x, x/32))
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		t.Errorf("hash of the results = %s, want %s", got, want)
	}
}
