package devicetest

import (
	"math"
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// TestReferenceMatchesHandComputedValues pins the reference itself, for what
// agrees with a wrong reference is wrong.
func TestReferenceMatchesHandComputedValues(t *testing.T) {
	for _, tc := range []struct {
		name   string
		graph  *chain
		values []float32
		image  []float32
		want   []float64
	}{
		// Weights 1..9 over 1..4 with padding: the centre of the kernel walks over the map.
		{
			"conv", from(1, 2, 2).conv(1, 3, 1, 1, 1),
			[]float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 0.5},
			[]float32{1, 2, 3, 4},
			[]float64{5 + 12 + 24 + 36 + 0.5, 4 + 10 + 21 + 32 + 0.5, 2 + 6 + 15 + 24 + 0.5, 1 + 4 + 12 + 20 + 0.5},
		},
		{
			"conv, stride and padding above and left only", from(1, 2, 2).convTo(1, 1, 1, 2, 2, 1, 1, 1),
			[]float32{1, 2, 3, 4, 0},
			[]float32{7, 8, 9, 10},
			[]float64{28},
		},
		{"conv, groups", from(2, 1, 1).conv(2, 1, 1, 0, 2), []float32{3, 5, 10, 20}, []float32{1, 2}, []float64{13, 30}},
		{"dense takes channels, then rows", from(2, 1, 2).dense(1), []float32{1, 10, 100, 1000, 0}, []float32{1, 2, 3, 4}, []float64{4321}},
		{"max pool, clipped", from(1, 3, 3).pool(device.MaxPool, 2, 2, 2, 2, 0, 0), nil, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, []float64{5, 6, 8, 9}},
		{"average pool, clipped", from(1, 3, 3).pool(device.AveragePool, 2, 2, 2, 2, 0, 0), nil, []float32{1, 2, 3, 4, 5, 6, 7, 8, 9}, []float64{3, 4.5, 7.5, 9}},
		{"lrn of size 2 looks one channel ahead", from(3, 1, 1).lrn(2, 1, 1, 1), nil, []float32{1, 2, 3}, []float64{1. / 6, 2. / 14, 3. / 10}},
		{"relu", from(3, 1, 1).relu(), nil, []float32{-1, 0, 2}, []float64{0, 0, 2}},
		{"leaky relu", from(3, 1, 1).act(device.LeakyReLU, 0.25), nil, []float32{-1, 0, 2}, []float64{-0.25, 0, 2}},
		{"softplus", from(2, 1, 1).act(device.Softplus, 0), nil, []float32{0, 1}, []float64{math.Ln2, math.Log(1 + math.E)}},
		{"dropout in testing", from(2, 1, 1).dropout(0.25, false), nil, []float32{4, 8}, []float64{3, 6}},
		{"inverted dropout in testing", from(2, 1, 1).dropout(0.25, true), nil, []float32{4, 8}, []float64{4, 8}},
	} {
		r := newReference(tc.graph.done(), tc.values)
		r.forward(tc.image)
		got := r.outputs[len(r.outputs)-1]
		if len(got) != len(tc.want) {
			t.Errorf("%s: %d values, want %d", tc.name, len(got), len(tc.want))
			continue
		}
		for i := range got {
			if math.Abs(got[i]-tc.want[i]) > 1e-12 {
				t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
				break
			}
		}
	}
}

// TestReferenceGradientIsSlopeOfItsLoss compares all values of the gradient
// with central differences, tighter than a device in float32 allows.
func TestReferenceGradientIsSlopeOfItsLoss(t *testing.T) {
	for _, c := range cases() {
		values := make([]float32, c.graph.Parameters)
		parameters(values, c.graph, 5)
		b := batch(c.graph, []int{0}, []int{1})
		_, gradient := c.gradient(values, b)
		r := newReference(c.graph, values)
		r.train, r.seed, r.step = true, b.Seed, b.Step
		for at := 0; at < len(gradient); at += 1 + len(gradient)/40 {
			if want := r.slope(b, at); math.Abs(gradient[at]-want) > 1e-8+1e-6*math.Abs(want) {
				t.Errorf("%s: value %d is %g, want %g", c.name, at, gradient[at], want)
			}
		}
	}
}

func TestTreeSumPassesOverWhatIsMissing(t *testing.T) {
	a, b := []float32{1, 2}, []float32{10, 20}
	for _, tc := range []struct {
		leaf map[int][]float32
		want []float32
	}{
		{map[int][]float32{}, nil},
		{map[int][]float32{2: a}, a},
		{map[int][]float32{0: a, 3: b}, []float32{11, 22}},
	} {
		got := treeSum(params.Root(4), tc.leaf, keeper(device.F32))
		if len(got) != len(tc.want) {
			t.Fatalf("tree sum %v, want %v", got, tc.want)
		}
		if err := sameBits("tree sum", got, tc.want); err != nil {
			t.Error(err)
		}
	}
}

// From 1 to 2, bfloat16s are 2^-7 apart.
func TestRoundedTreeSumRoundsLeavesAndSums(t *testing.T) {
	const unit = 0x1p-7
	for _, tc := range []struct {
		shards [4]float32
		want   float32
	}{
		{[4]float32{1 + unit/2, 0, 0, 0}, 1},              // a tie, to the even one
		{[4]float32{1 + unit*3/2, 0, 0, 0}, 1 + 2*unit},   // and upwards
		{[4]float32{1 + unit*3/8, unit * 3 / 8, 0, 0}, 1}, // of leaves that keep all of their bits the sum is 1 + unit*3/4
		{[4]float32{1, unit / 2, unit / 4, 0}, 1},         // of sums that do, 1 + unit*3/4 too
	} {
		shard := map[int][]float32{}
		for s, v := range tc.shards {
			shard[s] = []float32{v}
		}
		if got := treeSum(params.Root(4), shard, bfloat16); got[0] != tc.want {
			t.Errorf("the rounded sum of %v is %v, want %v", tc.shards, got[0], tc.want)
		}
	}
	for _, tc := range []struct{ in, want uint32 }{
		{0x7f800000, 0x7f800000}, {0xff7fffff, 0xff800000}, {0x80008000, 0x80000000}, {0x00018000, 0x00020000}, {0x7f7f7fff, 0x7f7f0000},
	} {
		if got := math.Float32bits(bfloat16(math.Float32frombits(tc.in))); got != tc.want {
			t.Errorf("%08x becomes %08x, want %08x", tc.in, got, tc.want)
		}
	}
	if v := bfloat16(math.Float32frombits(0xffffffff)); v == v {
		t.Errorf("a NaN becomes %v", v)
	}
}
