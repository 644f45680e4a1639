package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func TestTransposeFollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(45, 46))
		for range draws(300) {
			n := r.IntN(70)
			x := operands(r, Lanes+r.IntN(500))
			offsets := make([]int, n)
			for i := range offsets {
				offsets[i] = r.IntN(len(x) - Lanes + 1)
			}
			// Rows may be those of one array of all panels, or each panel its own.
			panels := (n + Lanes - 1) / Lanes
			row, panel := Lanes+r.IntN(9), 0
			panel = Lanes * row
			if r.IntN(2) == 0 {
				row, panel = panels*Lanes+r.IntN(3), Lanes
			}
			size := 1
			if panels > 0 {
				size = (panels-1)*panel + (Lanes-1)*row + Lanes
			}
			got, want := make([]float32, size), make([]float32, size)
			for i := range got {
				got[i], want[i] = -7, -7 // between rows nothing changes
			}
			for c := range panels * Lanes {
				for lane := range Lanes {
					var v float32
					if c < n {
						v = x[offsets[c]+lane]
					}
					want[c/Lanes*panel+lane*row+c%Lanes] = v
				}
			}
			Transpose(got, row, panel, x, offsets)
			compare(t, fmt.Sprintf("%d columns, row %d, panel %d", n, row, panel), got, want)
		}
	})
}

func TestAddLanesFollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(47, 48))
		for range draws(600) {
			n, lanes, pixels := r.IntN(Lanes+1), r.IntN(Lanes+1), r.IntN(6)
			step := r.IntN(40)
			// Exactly what is read: one value more would be outside.
			size := 0
			if n > 0 && lanes > 0 && pixels > 0 {
				size = (pixels-1)*step + (n-1)*Lanes + lanes
			}
			x, got := operands(r, size), append(operands(r, n), -7)
			want := append([]float32(nil), got...)
			for k := range n {
				for p := range pixels {
					for i := range lanes {
						want[k] = sum(want[k], x[p*step+k*Lanes+i])
					}
				}
			}
			AddLanes(got[:n], x, lanes, pixels, step)
			compare(t, fmt.Sprintf("%d sums of %d lanes of %d pixels %d apart", n, lanes, pixels, step), got, want)
		}
	})
}

// Sums in another order would differ: 2^24 + 1 rounds back to 2^24.
func TestAddLanesAddsInTheOrderOfLanes(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		var x [2 * Lanes]float32
		for i := range x {
			x[i] = 1
		}
		x[0], x[Lanes-1], x[2*Lanes-1] = 1<<24, -1<<24, 0
		sums := []float32{0, 0}
		AddLanes(sums, x[:], Lanes, 1, 0)
		if sums[0] != 0 || sums[1] != Lanes-1 {
			t.Errorf("sums = %v, want [0 %d]", sums, Lanes-1)
		}
	})
}

func TestTransposesAllocateNothing(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		x, dst, sums, offsets := make([]float32, 20*Lanes), make([]float32, 2*Lanes*Lanes), make([]float32, 13), make([]int, 20)
		if n := testing.AllocsPerRun(10, func() {
			Transpose(dst, Lanes, Lanes*Lanes, x, offsets)
			AddLanes(sums, x, Lanes, 1, 0)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// The panels of one pixel of 256 channels.
func BenchmarkTranspose(b *testing.B) {
	eachKernelBench(b, func(b *testing.B) {
		x, dst, offsets := filled(256*Lanes), filled(256*Lanes), make([]int, 256)
		for i := range offsets {
			offsets[i] = i * Lanes
		}
		b.SetBytes(int64(4 * len(x)))
		for b.Loop() {
			Transpose(dst, Lanes, Lanes*Lanes, x, offsets)
		}
	})
}

// 16 of 64 channels of 64 pixels, and 6 of 6 of 784 as in LeNet-5.
func BenchmarkAddLanes(b *testing.B) {
	for _, tc := range []struct{ sums, channels, pixels int }{{16, 64, 64}, {6, 6, 784}} {
		b.Run(fmt.Sprintf("sums=%d", tc.sums), func(b *testing.B) {
			eachKernelBench(b, func(b *testing.B) {
				x, sums := filled(tc.channels*tc.pixels*Lanes), make([]float32, tc.sums)
				b.SetBytes(int64(4 * tc.sums * tc.pixels * Lanes))
				for b.Loop() {
					clear(sums)
					AddLanes(sums, x, Lanes, tc.pixels, tc.channels*Lanes)
				}
			})
		})
	}
}
