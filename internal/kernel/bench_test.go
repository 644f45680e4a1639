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
	for _, tc := range []struct {
		name string
		shape
	}{
		{"fc forward 4096", shape{ldc: 16, rows: 6, rowA: 4096, stepA: 1, blocks: []Block{{K: 4096}}}},
		{"fc backward 512", shape{ldc: 16, rows: 6, rowA: 1, stepA: 4096, blocks: []Block{{K: 512}}}},
		{"conv 9 taps of 192", shape{ldc: 16, rows: 6, rowA: 9 * 192, stepA: 1, blocks: taps(9, 192)}},
		{"conv 25 taps of 64", shape{ldc: 16, rows: 6, rowA: 25 * 64, stepA: 1, blocks: taps(25, 64)}},
		{"conv 25 taps of 3", shape{ldc: 16, rows: 6, rowA: 25 * 3, stepA: 1, blocks: taps(25, 3)}},
		{"one block of 16", shape{ldc: 16, rows: 6, rowA: 16, stepA: 1, blocks: []Block{{K: 16}}}},
		{"4 rows of 192", shape{ldc: 16, rows: 4, rowA: 192, stepA: 1, blocks: []Block{{K: 192}}}},
		{"1 row of 192", shape{ldc: 16, rows: 1, rowA: 192, stepA: 1, blocks: []Block{{K: 192}}}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			c, x, y := tc.call(rand.New(rand.NewPCG(27, 28)))
			copy(x, filled(len(x)))
			copy(y, filled(len(y)))
			operations := 0
			for _, block := range tc.blocks {
				operations += 2 * Lanes * tc.rows * block.K
			}
			eachKernelBench(b, func(b *testing.B) {
				for b.Loop() {
					ChainZero(c, tc.ldc, tc.rows, x, tc.rowA, tc.stepA, y, tc.blocks)
				}
				b.ReportMetric(float64(operations)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		})
	}
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
