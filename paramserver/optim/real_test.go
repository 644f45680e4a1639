package optim

import (
	"math"
	"math/rand/v2"
	"testing"
)

// off returns |got-want| relative to |want|.
func off(got, want float64) float64 {
	if got == want {
		return 0
	}
	return math.Abs(got-want) / math.Abs(want)
}

func TestFunctionsAgreeWithMath(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var worstLn, worstExp, worstPower, worstCos float64
	for range 200_000 {
		x := math.Exp(rng.Float64()*200 - 100)
		worstLn = max(worstLn, math.Abs(ln(x)-math.Log(x))/(1+math.Abs(math.Log(x))))
		z := rng.Float64()*200 - 100
		worstExp = max(worstExp, off(exp(z), math.Exp(z))/(1+math.Abs(z)))
		y := z / math.Log(x)
		if math.Abs(y) < 1000 { // math.Pow itself loses digits beyond
			worstPower = max(worstPower, off(power(x, y), math.Pow(x, y)))
		}
		c := rng.Float64()
		worstCos = max(worstCos, math.Abs(cosPi(c)-math.Cos(math.Pi*c)))
	}
	t.Logf("worst: ln %.2g, exp %.2g, power %.2g, cosPi %.2g", worstLn, worstExp, worstPower, worstCos)
	if worstLn > 1e-15 || worstExp > 1e-15 || worstPower > 1e-12 || worstCos > 1e-15 {
		t.Errorf("worst: ln %.2g, exp %.2g, power %.2g, cosPi %.2g; stated 1e-15, 1e-15, 1e-12, 1e-15", worstLn, worstExp, worstPower, worstCos)
	}
}

func TestPowerAtTheEdges(t *testing.T) {
	for _, tc := range []struct{ x, y, want float64 }{
		{0, 0, 1},
		{0, 2, 0},
		{0, 0.5, 0},
		{1, 1e9, 1},
		{5, 0, 1},
		{2, 10, 1024},
		{2, -2, 0.25},
		{3, 4, 81},
		{0.5, 1024, math.Ldexp(1, -1024)},
		{0.1, 2, float64(0.1) * float64(0.1)},
		{0.5, 2000, 0},
		{2, 2000, math.Inf(1)},
		{2, -2000, 0},
		{math.Inf(1), 0, 1},
		{math.Inf(1), 0.5, math.Inf(1)},
		{math.Inf(1), 3, math.Inf(1)},
		{math.Inf(1), -0.5, 0},
	} {
		if got := power(tc.x, tc.y); got != tc.want {
			t.Errorf("power(%v, %v) = %v, want %v", tc.x, tc.y, got, tc.want)
		}
	}
}

// The largest exponent of repeated multiplication and the first one after it
// stay within the stated error.
func TestPowerWhereMethodsMeet(t *testing.T) {
	for _, x := range []float64{0.93, 0.99, 0.9999, 1.0001, 1.05} {
		for _, y := range []float64{1022.5, 1023, 1024, 1024.5, 1025, 1026} {
			if got, want := power(x, y), math.Pow(x, y); off(got, want) > 1e-12 {
				t.Errorf("power(%v, %v) = %v, want %v", x, y, got, want)
			}
		}
	}
}

func TestExpAtTheEdges(t *testing.T) {
	for _, tc := range []struct{ x, want float64 }{
		{0, 1}, {1000, math.Inf(1)}, {math.Inf(1), math.Inf(1)}, {-1000, 0}, {math.Inf(-1), 0},
	} {
		if got := exp(tc.x); got != tc.want {
			t.Errorf("exp(%v) = %v, want %v", tc.x, got, tc.want)
		}
	}
	if got := exp(math.NaN()); got == got {
		t.Errorf("exp(NaN) = %v", got)
	}
}

func TestCosPiIsExactAndOdd(t *testing.T) {
	for _, tc := range []struct{ x, want float64 }{{0, 1}, {0.5, 0}, {1, -1}} {
		if got := cosPi(tc.x); got != tc.want {
			t.Errorf("cosPi(%v) = %v, want %v", tc.x, got, tc.want)
		}
	}
	for k := range 1025 {
		x := float64(k) / 1024
		if a, b := cosPi(x), cosPi(1-x); a != -b {
			t.Errorf("cosPi(%v) = %v but cosPi(1-x) = %v", x, a, b)
		}
	}
}

// Golden bits: any platform must give these.
func TestFunctionsHaveTheseBits(t *testing.T) {
	for _, tc := range []struct {
		name string
		got  float64
		want uint64
	}{
		{"ln(0.3)", ln(0.3), 0xbff34378fcbda721},
		{"ln(12345.678)", ln(12345.678), 0x4022d79559791e31},
		{"exp(1)", exp(1), 0x4005bf0a8b14576a},
		{"exp(-17.3)", exp(-17.3), 0x3e60772c096d61b7},
		{"power(0.1, 0.37)", power(0.1, 0.37), 0x3fdb4d142e995c4a},
		{"power(0.97, 33)", power(0.97, 33), 0x3fd76c5a4adcdd43},
		{"cosPi(0.1)", cosPi(0.1), 0x3fee6f0e134454ff},
		{"cosPi(0.6)", cosPi(0.6), 0xbfd3c6ef372fe94e},
	} {
		if got := math.Float64bits(tc.got); got != tc.want {
			t.Errorf("%s has bits %#x, want %#x", tc.name, got, tc.want)
		}
	}
}
