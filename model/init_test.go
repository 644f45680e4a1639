package model

import (
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/model/params"
)

// initialised returns the first values of a network by tensor name.
func initialised(t *testing.T, name string, o Options, seed uint64) (*Network, []float32) {
	t.Helper()
	n := build(t, name, o)
	v := params.NewVector(n.Layout.Size())
	for i := range v {
		v[i] = float32(math.NaN()) // whatever is not written shows
	}
	n.Initialise(v, seed)
	for i, x := range v {
		if x != x {
			t.Fatalf("%s: value %d is not written", name, i)
		}
	}
	return n, v
}

func moments(x []float32) (mean, deviation, largest float64) {
	for _, f := range x {
		mean += float64(f)
		largest = max(largest, math.Abs(float64(f)))
	}
	mean /= float64(len(x))
	for _, f := range x {
		deviation += (float64(f) - mean) * (float64(f) - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(x))), largest
}

// A normal truncated at two deviations has this deviation.
const truncatedDeviation = 0.8796

func TestTensorsBeginAsTheirNetworkSays(t *testing.T) {
	type begin struct {
		deviation float64 // of the weights
		bias      float32
	}
	scaled := func(gain, fanIn float64) float64 { return math.Sqrt(gain / fanIn) }
	for _, tc := range []struct {
		name string
		want map[string]begin
	}{
		{"alexnet-lrn", map[string]begin{
			"conv1": {scaled(2, 363), 0}, "conv2": {scaled(2, 2400), 0}, "conv3": {scaled(2, 2304), 0}, "conv4": {scaled(2, 3456), 0}, "conv5": {scaled(2, 3456), 0},
			"fc6": {scaled(1, 256), 0}, "fc7": {scaled(1, 4096), 0}, "fc8": {scaled(1, 4096), 0},
		}},
		{"alexnet-tf", map[string]begin{
			"conv1": {0.1 * truncatedDeviation, 0}, "conv2": {0.1 * truncatedDeviation, 0}, "conv5": {0.1 * truncatedDeviation, 0},
			"fc6": {0.005 * truncatedDeviation, 0}, "fc7": {0.005 * truncatedDeviation, 0}, "fc8": {0.005 * truncatedDeviation, 0},
		}},
		{"alexnet-2012", map[string]begin{
			"conv1": {0.01, 0}, "conv2": {0.01, 1}, "conv3": {0.01, 0}, "conv4": {0.01, 1}, "conv5": {0.01, 1},
			"fc6": {0.01, 1}, "fc7": {0.01, 1}, "fc8": {0.01, 0},
		}},
		{"lenet5", map[string]begin{
			"conv1": {scaled(2, 75), 0}, "conv2": {scaled(2, 150), 0}, "fc3": {scaled(1, 400), 0}, "fc4": {scaled(1, 120), 0}, "fc5": {scaled(1, 84), 0},
		}},
		{"simple-cnn", map[string]begin{"conv1": {scaled(2, 75), 0}, "conv2": {scaled(2, 500), 0}, "fc3": {scaled(1, 1250), 0}}},
		{"alexnet-cifar", map[string]begin{
			"conv1": {scaled(2, 27), 0}, "conv5": {scaled(2, 2304), 0}, "fc6": {scaled(1, 4096), 0}, "fc7": {scaled(1, 1024), 0}, "fc8": {0.01, 0},
		}},
	} {
		o := Options{}
		if tc.name == "alexnet-tf" {
			o.InputSize = 67 // so that fc6 has short rows
		}
		n := build(t, tc.name, o)
		for layer, b := range tc.want {
			w := firstRows(n, layer+".weight", 1<<17)
			mean, deviation, largest := moments(w)
			// Six standard errors of a mean, and of a deviation.
			within := 6 / math.Sqrt(float64(len(w)))
			if math.Abs(mean) > within*b.deviation || math.Abs(deviation/b.deviation-1) > within {
				t.Errorf("%s %s.weight: mean %.4g, deviation %.6g; want 0 and %.6g", tc.name, layer, mean, deviation, b.deviation)
			}
			if limit := 2 * b.deviation / truncatedDeviation; tc.name == "alexnet-tf" && (largest > limit*1.001 || largest < limit*0.99) {
				t.Errorf("%s %s.weight reaches %.6g, want just below %.6g", tc.name, layer, largest, limit)
			}
			for i, x := range firstRows(n, layer+".bias", math.MaxInt) {
				if x != b.bias {
					t.Errorf("%s %s.bias[%d] = %g, want %g", tc.name, layer, i, x, b.bias)
					break
				}
			}
		}
	}
}

// firstRows draws the first rows of a tensor, as many as n values or more need.
func firstRows(n *Network, tensor string, values int) []float32 {
	for number, at := range n.Layout.Tensors() {
		if at.Name != tensor {
			continue
		}
		width := at.Range.Len() / at.Shape[0]
		var rows []float32
		for r := 0; r < at.Shape[0] && len(rows) < values; r++ {
			row := make([]float32, width)
			n.inits[number].fill(row, 1, number, r)
			rows = append(rows, row...)
		}
		return rows
	}
	return nil
}

func TestFirstValuesAreAFunctionOfTheirPlace(t *testing.T) {
	n, v := initialised(t, "lenet5", Options{}, 1<<40|9)
	for number, tensor := range n.Layout.Tensors() {
		if !strings.HasSuffix(tensor.Name, ".weight") {
			continue
		}
		width := tensor.Range.Len() / tensor.Shape[0]
		gain := 1.0
		if strings.HasPrefix(tensor.Name, "conv") {
			gain = 2
		}
		sigma := float32(math.Sqrt(gain / float64(width)))
		for r := range tensor.Shape[0] {
			s := philox.New(1<<40|9, philox.Init+philox.Purpose(number), uint32(r), 0)
			for j := range width {
				at := tensor.Range.First + r*width + j
				if want := sigma * kernel.Normal(&s); v[at] != want {
					t.Fatalf("%s row %d value %d = %g, want %g", tensor.Name, r, j, v[at], want)
				}
			}
		}
	}
}

func TestFirstValuesDoNotDependOnProcessors(t *testing.T) {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	_, one := initialised(t, "simple-cnn", Options{}, 3)
	runtime.GOMAXPROCS(7)
	_, seven := initialised(t, "simple-cnn", Options{}, 3)
	if !slices.Equal(one, seven) {
		t.Error("one processor and seven begin with different values")
	}
}

// TestFirstValuesStayTheSame pins the bits that every recorded run began with.
func TestFirstValuesStayTheSame(t *testing.T) {
	for _, tc := range []struct {
		name string
		seed uint64
		want string
	}{
		{"lenet5", 1, "c142f208567ed38e39fed475eca673a27ae6bb716f2e1217c8a46d47cd3b03c7"},
		{"lenet5", 2, "0725403afc80a4281b6fc0ad559a8a21a29750b9583b5fb72374aa80bd0cbd95"},
		{"simple-cnn", 1, "1e6dc96599fe7071ea6e6eeff73464b6245f80c3cd1a2fb362702962a1146164"},
	} {
		if _, v := initialised(t, tc.name, Options{}, tc.seed); params.Hash(v) != tc.want {
			t.Errorf("%s with seed %d begins with sha256:%s, want %s", tc.name, tc.seed, params.Hash(v), tc.want)
		}
	}
}

func TestRowsTensorsAndSeedsDiffer(t *testing.T) {
	const values = 75 // of a row of conv1, the shortest
	n, v := initialised(t, "lenet5", Options{}, 1)
	_, other := initialised(t, "lenet5", Options{}, 2)
	// scaled undoes the deviations, so that equal draws would be nearly equal values.
	scaled := func(v []float32, tensor string, row int) []float64 {
		at, _ := n.Layout.Tensor(tensor)
		width := at.Range.Len() / at.Shape[0]
		_, deviation, _ := moments(at.Range.Of(v))
		var x []float64
		for _, f := range at.Range.Of(v)[row*width:][:values] {
			x = append(x, float64(f)/deviation)
		}
		return x
	}
	want := scaled(v, "conv1.weight", 0)
	for _, got := range [][]float64{scaled(v, "conv1.weight", 1), scaled(v, "conv2.weight", 0), scaled(v, "fc3.weight", 0), scaled(other, "conv1.weight", 0)} {
		product := 0.0
		for i := range got {
			product += got[i] * want[i]
		}
		if correlation := product / values; math.Abs(correlation) > 0.5 {
			t.Errorf("correlation %.2f with another row, tensor or seed", correlation)
		}
	}
}

func TestInitialiseRefusesAnotherNetworksVector(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a vector of another size was accepted")
		}
	}()
	build(t, "lenet5", Options{}).Initialise(make([]float32, 3), 1)
}

func TestInitIsWrittenAsAFormula(t *testing.T) {
	for _, tc := range []struct {
		init Init
		want string
	}{
		{Init{}, "0"},
		{Constant(1), "1"},
		{Normal(0.01), "N(0, 0.01^2)"},
		{TruncatedNormal(0.1), "N(0, 0.1^2) within 2 deviations"},
		{FanIn(2), "N(0, 2/fan-in)"},
	} {
		if got := tc.init.String(); got != tc.want {
			t.Errorf("%#v is written %q, want %q", tc.init, got, tc.want)
		}
	}
}

// BenchmarkInitialise draws the 21.6 million values of alexnet.
func BenchmarkInitialise(b *testing.B) {
	n, err := New("alexnet", Options{})
	if err != nil {
		b.Fatal(err)
	}
	v := params.NewVector(n.Layout.Size())
	b.SetBytes(int64(4 * len(v)))
	for b.Loop() {
		n.Initialise(v, 1)
	}
}
