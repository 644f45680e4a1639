package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// naiveBfloat16 chooses the nearer of the two neighbours, by distances that
// float64 holds exactly, and of two as near the one whose last bit is 0.
func naiveBfloat16(x float32) uint16 {
	u := math.Float32bits(x)
	down := uint16(u >> 16)
	if x != x {
		return down | 0x40
	}
	if math.IsInf(float64(x), 0) {
		return down
	}
	value := func(b uint16) float64 {
		if b&0x7fff == 0x7f80 { // where the next number would be: past half way all become infinite
			return math.Copysign(0x1p128, float64(x))
		}
		return float64(math.Float32frombits(uint32(b) << 16))
	}
	below, above := math.Abs(float64(x)-value(down)), math.Abs(value(down+1)-float64(x))
	if below < above || below == above && down&1 == 0 {
		return down
	}
	return down + 1
}

// edgeFloats are values at which rounding, ranges or kinds change.
var edgeFloats = func() (edges []float32) {
	for _, u := range []uint32{
		0, 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x10000, 0x17fff, 0x18000, 0x18001, 0x7f8000, 0x7fffff, 0x800000,
		0x3f800000, 0x3f807fff, 0x3f808000, 0x3f808001, 0x3f818000, 0x3f818001,
		0x7f7effff, 0x7f7f7fff, 0x7f7f8000, 0x7f7fffff, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff,
	} {
		edges = append(edges, math.Float32frombits(u), math.Float32frombits(u|1<<31))
	}
	return edges
}()

func TestToBfloat16RoundsToNearestEven(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(51, 52))
		for n := range 80 {
			x := make([]float32, n)
			for i := range x {
				x[i] = math.Float32frombits(r.Uint32())
				if r.IntN(2) == 0 {
					x[i] = edgeFloats[r.IntN(len(edgeFloats))]
				}
			}
			got := make([]uint16, n+1)
			ToBfloat16(got[:n], x)
			for i, v := range x {
				if want := naiveBfloat16(v); got[i] != want {
					t.Fatalf("value %d of %d: %x becomes %#04x, want %#04x", i, n, math.Float32bits(v), got[i], want)
				}
			}
			if got[n] != 0 {
				t.Fatalf("%d values: the one after them became %#x", n, got[n])
			}
		}
	})
}

// Every bfloat16 there is comes back as it was, a NaN as a quiet one.
func TestBfloat16sComeBackAsTheyWere(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		const all = 1 << 16
		x, y, back := make([]uint16, all), make([]float32, all), make([]uint16, all)
		for i := range x {
			x[i] = uint16(i)
		}
		FromBfloat16(y, x)
		ToBfloat16(back, y)
		for i := range x {
			want := x[i]
			if want&0x7fff > 0x7f80 {
				want |= 0x40
			}
			if math.Float32bits(y[i]) != uint32(i)<<16 || back[i] != want {
				t.Fatalf("%#04x is %x and comes back as %#04x, want %#04x", i, math.Float32bits(y[i]), back[i], want)
			}
		}
	})
}

func FuzzBfloat16(f *testing.F) {
	for _, v := range edgeFloats {
		f.Add(math.Float32bits(v))
	}
	f.Fuzz(func(t *testing.T, u uint32) {
		x := [Lanes + 1]float32{} // a whole vector and one value beside it
		for i := range x {
			x[i] = math.Float32frombits(u)
		}
		want := naiveBfloat16(x[0])
		for _, name := range Names() {
			useKernel(t, name)
			var b, again [Lanes + 1]uint16
			var y [Lanes + 1]float32
			ToBfloat16(b[:], x[:])
			FromBfloat16(y[:], b[:])
			ToBfloat16(again[:], y[:])
			for i := range b {
				if b[i] != want || again[i] != want {
					t.Fatalf("%s: %x becomes %#04x, then %#04x, want %#04x", name, u, b[i], again[i], want)
				}
			}
		}
	})
}

// naiveInt8 converts a block from the definition.
func naiveInt8(x []float32) (q []int8, scale float32) {
	q = make([]int8, len(x))
	for _, v := range x {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return q, float32(math.NaN())
		}
		scale = max(scale, float32(math.Abs(float64(v))))
	}
	scale /= 127
	if math.IsInf(float64(127*scale), 0) {
		scale = math.Nextafter32(scale, 0)
	}
	for i, v := range x {
		if scale != 0 {
			q[i] = int8(max(-127, min(127, math.RoundToEven(float64(float32(float64(v)/float64(scale)))))))
		}
	}
	return q, scale
}

func TestInt8FollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(53, 54))
		for round := range draws(200) {
			n := r.IntN(700)
			x := operands(r, n)
			switch round % 6 {
			case 1:
				for range r.IntN(3) { // in some blocks, at any place
					if n > 0 {
						x[r.IntN(n)] = edgeFloats[r.IntN(len(edgeFloats))]
					}
				}
			case 2: // a few units of the smallest number: the scale has few bits
				for i := range x {
					x[i] = math.Float32frombits(r.Uint32N(1000) | r.Uint32()<<31)
				}
			case 3:
				clear(x)
			case 4: // the largest there are
				for i := range x {
					x[i] = math.Float32frombits(0x7f7fffff - r.Uint32N(100))
				}
			case 5: // halves, of which ties are even
				for i := range x {
					x[i] = float32(r.IntN(255)-127) / 2
				}
			}
			blocks := (n + Int8Block - 1) / Int8Block
			q, scales := make([]int8, n+1), make([]float32, blocks)
			y := make([]float32, n+1)
			ToInt8(q[:n], scales, x)
			FromInt8(y[:n], q, scales)
			for b := range blocks {
				first, end := b*Int8Block, min((b+1)*Int8Block, n)
				wantQ, wantScale := naiveInt8(x[first:end])
				if !sameBits(scales[b], wantScale) {
					t.Fatalf("%d values: scale %d = %x, want %x", n, b, scales[b], wantScale)
				}
				for i, want := range wantQ {
					if q[first+i] != want {
						t.Fatalf("%d values: %x of scale %x becomes %d, want %d", n, x[first+i], wantScale, q[first+i], want)
					}
					if back := product(float32(want), wantScale); !sameBits(y[first+i], back) {
						t.Fatalf("%d values: %d of scale %x comes back as %x, want %x", n, want, wantScale, y[first+i], back)
					}
				}
			}
			if q[n] != 0 || y[n] != 0 {
				t.Fatalf("%d values: those after them became %d and %g", n, q[n], y[n])
			}
		}
	})
}

// The promise to users of the format: no value is off by more than half a
// scale, and finite values stay finite.
func TestInt8IsOffByHalfAScaleAtMost(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(55, 56))
		for _, largest := range []float64{1e-30, 1, 1e30, math.MaxFloat32} {
			x, q, y, scales := make([]float32, Int8Block), make([]int8, Int8Block), make([]float32, Int8Block), make([]float32, 1)
			for i := range x {
				x[i] = float32((2*r.Float64() - 1) * largest)
			}
			x[r.IntN(Int8Block)] = float32(largest)
			ToInt8(q, scales, x)
			FromInt8(y, q, scales)
			for i := range x {
				if off := math.Abs(float64(x[i]) - float64(y[i])); !(off <= 0.50001*float64(scales[0])) {
					t.Errorf("largest %g: %g comes back as %g, off by %g scales", largest, x[i], y[i], off/float64(scales[0]))
				}
			}
		}
	})
}

func TestInt8ShowsWhatIsNotFinite(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			for _, at := range []int{0, 17, Int8Block - 1, Int8Block + 3} {
				x, q, y := make([]float32, Int8Block+4), make([]int8, Int8Block+4), make([]float32, Int8Block+4)
				scales := make([]float32, 2)
				x[at] = float32(bad)
				ToInt8(q, scales, x)
				FromInt8(y, q, scales)
				for i, v := range y {
					if isNaN := v != v; isNaN != (i/Int8Block == at/Int8Block) {
						t.Fatalf("%g at %d: value %d comes back as %g", bad, at, i, v)
					}
				}
			}
		}
	})
}

func BenchmarkConvert(b *testing.B) {
	const n = 1 << 14 // in the second cache
	x, y, half, q, scales := filled(n), make([]float32, n), make([]uint16, n), make([]int8, n), make([]float32, n/Int8Block)
	for _, tc := range []struct {
		name string
		run  func()
	}{
		{"ToBfloat16", func() { ToBfloat16(half, x) }},
		{"FromBfloat16", func() { FromBfloat16(y, half) }},
		{"ToInt8", func() { ToInt8(q, scales, x) }},
		{"FromInt8", func() { FromInt8(y, q, scales) }},
	} {
		b.Run(tc.name, func(b *testing.B) {
			eachKernelBench(b, func(b *testing.B) {
				b.SetBytes(4 * n)
				for b.Loop() {
					tc.run()
				}
			})
		})
	}
}
