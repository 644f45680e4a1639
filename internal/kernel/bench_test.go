package kernel

import (
	"fmt"
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
	for _, s.Round = range []bool{false, true} {
		b.Run(fmt.Sprintf("round=%v", s.Round), func(b *testing.B) {
			eachKernelBench(b, func(b *testing.B) {
				for b.Loop() {
					ChainTree(c, x, y, &s.Tile, s.blocks, stack)
				}
				b.ReportMetric(float64(2*s.Values()*128)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
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
		{"AddRound", 3 * 4 * n, func() { AddRound(w2, w, g) }},
		{"Momentum", 5 * 4 * n, func() { Momentum(w2, v2, w, v, g, 1, 0.01, 0.9, 5e-4, false) }},
		{"Nesterov", 5 * 4 * n, func() { Nesterov(w2, v2, w, v, g, 1, 0.01, 0.9, 5e-4, false) }},
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

// The update of a whole vector, alexnet's in size, into a second version of it.
// Bytes are those read and written, each once.
func BenchmarkUpdateOfAVector(b *testing.B) {
	const n = 21_600_000
	w, v, g := aligned(filled(n)), aligned(filled(n)), aligned(filled(n))
	w2, v2 := aligned(w), aligned(v)
	for _, tc := range []struct {
		name string
		run  func()
	}{
		{"in place", func() { Momentum(w, v, w, v, g, 1, 0.01, 0.9, 5e-4, false) }},
		{"second version", func() { Momentum(w2, v2, w, v, g, 1, 0.01, 0.9, 5e-4, false) }},
		{"second version, then Finite", func() { Momentum(w2, v2, w, v, g, 1, 0.01, 0.9, 5e-4, false); Finite(w2) }},
		{"second version, far", func() { Momentum(w2, v2, w, v, g, 1, 0.01, 0.9, 5e-4, true) }},
		{"copy of two vectors", func() { copy(w2, w); copy(v2, v) }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			b.SetBytes(5 * 4 * n)
			for b.Loop() {
				tc.run()
			}
		})
	}
}

// What is done between products, of one lane block of a map of 16x16 pixels of 64
// channels. Bytes are those read and written, each once; the pooling is 3x3 with
// a stride of 2.
func BenchmarkLayers(b *testing.B) {
	const in, out, channel = 16, 8, 64 * Lanes
	const n, pooled = in * in * channel, out * out * channel
	x, dy, y, d, f, q := filled(n), filled(n), filled(n), filled(n), filled(n), filled(channel)
	from := make([]int32, pooled)
	counts := filled(out * out)
	forward := func(pool func(at int, x []float32, w *Window)) {
		for pixel := range out * out {
			oy, ox := pixel/out, pixel%out
			w := Window{
				Rows: min(3, in-2*oy), Columns: min(3, in-2*ox), Row: in * channel, Column: channel,
				Pixel: 2*oy*in + 2*ox, PixelRow: in,
			}
			pool(pixel*channel, x[w.Pixel*channel:], &w)
		}
	}
	backward := func(pool func(dx []float32, pixel int, w *Window)) {
		for pixel := range in * in {
			iy, ix := pixel/in, pixel%in
			y0, x0 := max(0, (iy-1)/2), max(0, (ix-1)/2)
			w := Window{
				Rows: iy/2 + 1 - y0, Columns: ix/2 + 1 - x0, Row: out * channel, Column: channel,
				Pixel: y0*out + x0, PixelRow: out,
			}
			pool(y[pixel*channel:][:channel], pixel, &w)
		}
	}
	r := Response{Before: 2, After: 2, K: 1, Alpha: 1e-4, Beta: 0.75}
	for _, tc := range []struct {
		name  string
		bytes int64
		run   func()
	}{
		{"ReLU", 2 * 4 * n, func() { ReLU(y, x) }},
		{"ReLUBack", 3 * 4 * n, func() { ReLUBack(y, dy, x) }},
		{"LeakyReLU", 2 * 4 * n, func() { LeakyReLU(y, x, 0.01) }},
		{"LeakyReLUBack", 3 * 4 * n, func() { LeakyReLUBack(y, dy, x, 0.01) }},
		{"MaxPool", 4*n + 2*4*pooled, func() {
			forward(func(at int, x []float32, w *Window) { MaxPool(y[at:][:channel], from[at:][:channel], x, w) })
		}},
		{"MaxPoolBack", 4*n + 2*4*pooled, func() {
			backward(func(dx []float32, pixel int, w *Window) {
				MaxPoolBack(dx, dy[w.Pixel*channel:], from[w.Pixel*channel:], pixel, w)
			})
		}},
		{"AveragePool", 4*n + 4*pooled, func() {
			forward(func(at int, x []float32, w *Window) { AveragePool(y[at:][:channel], x, 9, w) })
		}},
		{"AveragePoolBack", 4*n + 4*pooled, func() {
			backward(func(dx []float32, _ int, w *Window) { AveragePoolBack(dx, dy[w.Pixel*channel:], counts, w) })
		}},
		{"LRN", 4 * 4 * n, func() {
			for at := 0; at < n; at += channel {
				LRN(y[at:][:channel], d[at:][:channel], f[at:][:channel], x[at:][:channel], &r)
			}
		}},
		{"LRNBack", 5 * 4 * n, func() {
			for at := 0; at < n; at += channel {
				LRNBack(y[at:][:channel], dy[at:][:channel], x[at:][:channel], d[at:][:channel], f[at:][:channel], q, &r)
			}
		}},
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
