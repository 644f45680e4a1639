package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/philox"
)

// eachKernelBench runs a benchmark with each of the kernels of this machine.
func eachKernelBench(b *testing.B, bench func(b *testing.B)) {
	for _, name := range Names() {
		b.Run(name, func(b *testing.B) {
			useKernel(b, name)
			bench(b)
		})
	}
}

// filled returns n values other than 0. Memory that was never written may be
// one page of zeros mapped many times, which a cache serves at half its speed.
func filled(n int) []float32 {
	r := rand.New(rand.NewPCG(25, 26))
	x := make([]float32, n)
	for i := range x {
		x[i] = r.Float32() - 0.5
	}
	return x
}

// The tiles that networks meet most: of fully connected layers, of 3x3 and 5x5
// convolutions with a block for each tap, and short ones.
func BenchmarkChain(b *testing.B) {
	rows := func(rows, columns, rowA, stepA int) Tile {
		return Tile{Rows: rows, Columns: columns, RowC: 16, ColumnC: 16 * rows, RowA: rowA, StepA: stepA, StepB: 16, ColumnB: 1 << 16}
	}
	for _, tc := range []struct {
		name string
		shape
	}{
		{"fc forward 384", shape{rows(14, 2, 384, 1), []Block{{K: 384}}}},
		{"fc forward 384 1 column", shape{rows(14, 1, 384, 1), []Block{{K: 384}}}},
		{"fc backward 192", shape{rows(14, 2, 1, 464), []Block{{K: 192}}}},
		{"conv 9 taps of 192", shape{rows(14, 2, 9*192, 1), taps(9, 192)}},
		{"conv 25 taps of 64", shape{rows(14, 2, 25*64, 1), taps(25, 64)}},
		{"conv 25 taps of 3", shape{rows(14, 2, 25*3, 1), taps(25, 3)}},
		{"one block of 16", shape{rows(14, 2, 16, 1), []Block{{K: 16}}}},
		{"12 rows of 192", shape{rows(12, 2, 192, 1), []Block{{K: 192}}}},
		{"6 rows of 192", shape{rows(6, 2, 192, 1), []Block{{K: 192}}}},
		{"1 row of 192", shape{rows(1, 2, 192, 1), []Block{{K: 192}}}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			c, x, y := tc.call(rand.New(rand.NewPCG(27, 28)))
			copy(x, filled(len(x)))
			copy(y, filled(len(y)))
			operations := 0
			for _, block := range tc.blocks {
				operations += 2 * tc.Values() * block.K
			}
			eachKernelBench(b, func(b *testing.B) {
				for b.Loop() {
					ChainZero(c, x, y, &tc.Tile, tc.blocks)
				}
				b.ReportMetric(float64(operations)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		})
	}
}

// The gradient of a fully connected layer's weights: eight shards of 16 images.
func BenchmarkChainTree(b *testing.B) {
	s := shape{Tile: Tile{Rows: 14, Columns: 2, RowC: 32, ColumnC: 16, RowA: 16, StepA: 1, StepB: 16, ColumnB: 256}}
	for i, then := range []int{1, 2, 1, 3, 1, 2, 1, 4} {
		s.blocks = append(s.blocks, Block{A: i * 16 * 14, B: i * 512, K: 16, Then: then})
	}
	c, x, y := s.call(rand.New(rand.NewPCG(27, 28)))
	copy(x, filled(len(x)))
	copy(y, filled(len(y)))
	stack := make([]float32, 3*s.Values())
	eachKernelBench(b, func(b *testing.B) {
		for b.Loop() {
			ChainTree(c, x, y, &s.Tile, s.blocks, stack)
		}
		b.ReportMetric(float64(2*s.Values()*128)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
}

func taps(n, channels int) []Block {
	var blocks []Block
	for i := range n {
		blocks = append(blocks, Block{A: i * channels, B: i * channels * Lanes, K: channels})
	}
	return blocks
}

// Bytes are those read and written.
func BenchmarkElementwise(b *testing.B) {
	const n = 1 << 18 // a chunk of the vector
	w, v, g := filled(n), filled(n), filled(n)
	w2, v2 := slices.Clone(w), slices.Clone(v)
	for _, tc := range []struct {
		name  string
		bytes int64
		run   func()
	}{
		{"Add", 3 * 4 * n, func() { Add(w2, w, g) }},
		{"Momentum", 5 * 4 * n, func() { Momentum(w2, v2, w, v, g, 1, 0.01, 0.9, 5e-4) }},
		{"Nesterov", 5 * 4 * n, func() { Nesterov(w2, v2, w, v, g, 1, 0.01, 0.9, 5e-4) }},
		{"Finite", 4 * n, func() { Finite(g) }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			eachKernelBench(b, func(b *testing.B) {
				b.SetBytes(tc.bytes)
				for b.Loop() {
					tc.run()
				}
			})
		})
	}
}

func BenchmarkFunctions(b *testing.B) {
	x := filled(1024)
	for i := range x {
		x[i] = 10 * (x[i] + 0.5)
	}
	stream := philox.New(1, philox.Init, 0, 0)
	for _, tc := range []struct {
		name string
		f    func(float32) float32
	}{
		{"Exp", Exp},
		{"Log", Log},
		{"Log1p", Log1p},
		{"Sigmoid", Sigmoid},
		{"Softplus", Softplus},
		{"Pow", func(x float32) float32 { return Pow(x, -0.75) }},
		{"Cos", func(x float32) float32 { return Cos(x / 4) }},
		{"Normal", func(float32) float32 { return Normal(&stream) }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			i, sum := 0, float32(0)
			for b.Loop() {
				sum += tc.f(x[i&1023])
				i++
			}
			if sum != sum {
				b.Fatal("the sum of the results is NaN")
			}
		})
	}
}
