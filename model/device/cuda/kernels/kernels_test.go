package kernels

import (
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/internal/ptx"
	"github.com/muster-train/muster/model/device"
)

// load is a kernel of a file.
func load(t *testing.T, file, name string) *ptx.Kernel {
	t.Helper()
	text, err := PTX(file)
	if err != nil {
		t.Fatal(err)
	}
	m, err := ptx.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	k := m.Kernels[name]
	if k == nil {
		t.Fatalf("%s has no kernel %s", file, name)
	}
	return k
}

// launch runs a kernel on a few threads, and fewer than there are values.
func launch(t *testing.T, k *ptx.Kernel, m *ptx.Memory, args ...any) {
	t.Helper()
	if err := k.Run(m, ptx.Launch{Grid: [3]int{3}, Block: [3]int{64}, Args: args}); err != nil {
		t.Fatal(err)
	}
}

// random are numbers of every size, some of them special.
func random(n int, seed uint64) []float32 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64()) * float32(math.Ldexp(1, r.IntN(20)-10))
	}
	return x
}

func sameBits(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], want[i])
		}
	}
}

func TestMomentumHasTheBitsOfTheServer(t *testing.T) {
	k := load(t, "update", "momentum")
	const n = 1000
	w, v, g := random(n, 1), random(n, 2), random(n, 3)
	const scale, rate, mu, decay = float32(1. / 128), float32(0.1), float32(0.9), float32(2e-4)
	for _, nesterov := range []bool{false, true} {
		w2, v2 := make([]float32, n), make([]float32, n)
		rule, flag := kernel.Momentum, uint32(0)
		if nesterov {
			rule, flag = kernel.Nesterov, 1
		}
		rule(w2, v2, w, v, g, scale, rate, mu, decay, false)
		m := ptx.NewMemory()
		toW, toV := m.Alloc(4*n), m.Alloc(4*n)
		launch(t, k, m, toW, toV, m.Floats(w), m.Floats(v), m.Floats(g), m.Floats([]float32{scale, rate}), mu, decay, flag, uint32(n))
		sameBits(t, "parameters", m.ReadFloats(toW, n), w2)
		sameBits(t, "velocities", m.ReadFloats(toV, n), v2)
		// In place.
		atW, atV := m.Floats(w), m.Floats(v)
		launch(t, k, m, atW, atV, atW, atV, m.Floats(g), m.Floats([]float32{scale, rate}), mu, decay, flag, uint32(n))
		sameBits(t, "parameters in place", m.ReadFloats(atW, n), w2)
	}
}

func TestSumsOfNodesAreSums(t *testing.T) {
	const n = 777
	a, b := random(n, 4), random(n, 5)
	want := make([]float32, n)
	for i := range want {
		want[i] = a[i] + b[i]
	}
	m := ptx.NewMemory()
	sum := m.Alloc(4 * n)
	launch(t, load(t, "update", "add"), m, sum, m.Floats(a), m.Floats(b), uint32(n))
	sameBits(t, "sum", m.ReadFloats(sum, n), want)
}

func TestBfloat16sAreThoseOfTheCPU(t *testing.T) {
	special := []float32{0, float32(math.Copysign(0, -1)), 1, 1 + 0x1p-8, 1 + 3*0x1p-8, math.MaxFloat32, -math.MaxFloat32, float32(math.Inf(1)), float32(math.Inf(-1)), 1e-40}
	for _, n := range []int{1, 2, 501} {
		x := append(slices.Clone(special), random(n, 6)...)
		if n == 1 {
			x = x[:11]
		}
		rounded := slices.Clone(x)
		kernel.Round(rounded, x)
		m := ptx.NewMemory()
		words := (len(x) + 1) / 2
		packed, back := m.Alloc(4*words), m.Alloc(4*len(x))
		launch(t, load(t, "update", "pack"), m, packed, m.Floats(x), uint32(len(x)))
		launch(t, load(t, "update", "unpack"), m, back, packed, uint32(len(x)))
		sameBits(t, "rounded", m.ReadFloats(back, len(x)), rounded)
		b, _ := m.Read(packed, 4*words)
		if len(x)%2 == 1 && binary.LittleEndian.Uint16(b[4*words-2:]) != 0 {
			t.Error("an odd number of values ends with something")
		}
	}
	m := ptx.NewMemory()
	packed, back := m.Alloc(4), m.Alloc(4)
	launch(t, load(t, "update", "pack"), m, packed, m.Floats([]float32{float32(math.NaN())}), uint32(1))
	launch(t, load(t, "update", "unpack"), m, back, packed, uint32(1))
	if x := m.ReadFloats(back, 1)[0]; x == x {
		t.Errorf("a NaN became %v", x)
	}
}

func TestDropoutKeepsWhatTheCPUKeeps(t *testing.T) {
	k := load(t, "dropout", "dropout")
	const images, layer, step = 3, 2, 41
	const seed = uint64(0x0123456789abcdef)
	for _, shape := range [][2]int{{1, 1}, {8, 1}, {37, 1}, {5, 20}, {100, 1}} {
		channels, pixels := shape[0], shape[1]
		values := channels * pixels
		for _, p := range []float32{0, 0.5, 0.9} {
			x := random(images*values, 7)
			index := []uint32{5, 0, 4_000_000_000}
			scale := 1 / (1 - p)
			want := make([]float32, len(x))
			for i, number := range index {
				for j, keep := range device.Mask(nil, values, p, seed, layer, step, number) {
					if at := (j/pixels*images+i)*pixels + j%pixels; keep {
						want[at] = x[at] * scale
					}
				}
			}
			m := ptx.NewMemory()
			y := m.Alloc(4 * len(x))
			launch(t, k, m, y, m.Floats(x), m.Words(index), m.Words([]uint32{step}), uint32(seed&math.MaxUint32), uint32(seed>>32),
				uint32(philox.Dropout+layer), device.Threshold(p), scale, uint32(channels), uint32(images), uint32(pixels))
			sameBits(t, "dropout", m.ReadFloats(y, len(x)), want)
		}
	}
}

// turned is a matrix of rows as one of columns.
func turned[T any](x []T, rows int) []T {
	y := make([]T, 0, len(x))
	for c := range len(x) / rows {
		for r := range rows {
			y = append(y, x[r*(len(x)/rows)+c])
		}
	}
	return y
}

// softmax is the result of the kernel of some images' logits, by images.
type softmax struct {
	p, d, loss []float32
	rank       []uint32
}

func runSoftmax(t *testing.T, z []float32, labels []uint32, classes int) softmax {
	t.Helper()
	images := len(z) / classes
	m := ptx.NewMemory()
	p, d, loss, rank := m.Alloc(4*len(z)), m.Alloc(4*len(z)), m.Alloc(4*images), m.Alloc(4*images)
	l := ptx.Launch{Grid: [3]int{images}, Block: [3]int{128}, Args: []any{p, d, loss, rank, m.Floats(turned(z, images)), m.Words(labels), uint32(classes), uint32(images)}}
	if err := load(t, "loss", "softmax").Run(m, l); err != nil {
		t.Fatal(err)
	}
	s := softmax{turned(m.ReadFloats(p, len(z)), classes), turned(m.ReadFloats(d, len(z)), classes), m.ReadFloats(loss, images), nil}
	for _, x := range m.ReadFloats(rank, images) {
		s.rank = append(s.rank, math.Float32bits(x))
	}
	return s
}

func TestSoftmaxIsThatOfReals(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for _, classes := range []int{2, 10, 127, 128, 129, 1000} {
		const images = 4
		z := make([]float32, images*classes)
		for i := range z {
			z[i] = float32(r.NormFloat64() * 8)
		}
		labels := make([]uint32, images)
		for i := range labels {
			labels[i] = uint32(r.IntN(classes))
		}
		got := runSoftmax(t, z, labels, classes)
		for i := range images {
			row, label := z[i*classes:(i+1)*classes], int(labels[i])
			largest, sum := float64(slices.Max(row)), 0.0
			for _, v := range row {
				sum += math.Exp(float64(v) - largest)
			}
			near := func(what string, got float32, want, tolerance float64) {
				t.Helper()
				if math.Abs(float64(got)-want) > tolerance {
					t.Errorf("%d classes, image %d: %s %v, want %v", classes, i, what, got, want)
				}
			}
			near("loss", got.loss[i], math.Log(sum)-(float64(row[label])-largest), 4e-6)
			before := uint32(0)
			for c, v := range row {
				p := math.Exp(float64(v)-largest) / sum
				near("probability", got.p[i*classes+c], p, 4e-7)
				if c == label {
					p--
				}
				near("gradient", got.d[i*classes+c], p, 4e-7)
				if c != label && (v > row[label] || v == row[label] && c < label) {
					before++
				}
			}
			if got.rank[i] != before {
				t.Errorf("%d classes, image %d: rank %d, want %d", classes, i, got.rank[i], before)
			}
		}
	}
}

func TestRanksOfEqualAndOfNoNumbers(t *testing.T) {
	nan := float32(math.NaN())
	for _, tc := range []struct {
		z     []float32
		label uint32
		rank  uint32
	}{
		{[]float32{1, 1, 1, 1}, 0, 0},
		{[]float32{1, 1, 1, 1}, 3, 3},
		{[]float32{3, 1, 2, 0}, 2, 1},
		{[]float32{nan, 1, 2, 0}, 2, 1}, // what can't be compared comes before
		{[]float32{3, 1, nan, 0}, 2, 3},
	} {
		got := runSoftmax(t, tc.z, []uint32{tc.label}, 4)
		if got.rank[0] != tc.rank {
			t.Errorf("%v, label %d: rank %d, want %d", tc.z, tc.label, got.rank[0], tc.rank)
		}
		if slices.ContainsFunc(tc.z, func(x float32) bool { return x != x }) && got.loss[0] == got.loss[0] {
			t.Errorf("%v: loss %v, want NaN", tc.z, got.loss[0])
		}
	}
}

// Logits far apart, and large ones, lose no digits that count.
func TestSoftmaxOfExtremes(t *testing.T) {
	got := runSoftmax(t, []float32{1000, 0, -1000, 999}, []uint32{3}, 4)
	if want := math.Log(1+math.Exp(-1)) + 1; math.Abs(float64(got.loss[0])-want) > 1e-5 || got.p[1] != 0 {
		t.Errorf("loss %v, want %v; probabilities %v", got.loss[0], want, got.p)
	}
}

// A barrier that is missing is found, whichever, but for the last: after it thread 0 reads
// what it has written itself.
func TestEveryBarrierOfSoftmaxIsNeeded(t *testing.T) {
	text, err := PTX("loss")
	if err != nil {
		t.Fatal(err)
	}
	const barrier = "bar.sync \t0;"
	parts := strings.Split(text, barrier)
	if len(parts) < 5 {
		t.Fatalf("%d barriers: the text is not what it was", len(parts)-1)
	}
	z := random(300, 10)
	for i := 1; i < len(parts)-1; i++ {
		planted := strings.Join(parts[:i], barrier) + strings.Join(parts[i:], barrier)
		module, err := ptx.Parse(planted)
		if err != nil {
			t.Fatal(err)
		}
		m := ptx.NewMemory()
		l := ptx.Launch{Block: [3]int{128}, Args: []any{m.Alloc(1200), m.Alloc(1200), m.Alloc(4), m.Alloc(4), m.Floats(z), m.Words([]uint32{7}), uint32(300), uint32(1)}}
		var fault *ptx.Fault
		if err := module.Kernels["softmax"].Run(m, l); !errors.As(err, &fault) {
			t.Errorf("without barrier %d: %v, want a fault", i, err)
		}
	}
}
