package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/muster-train/muster/internal/philox"
)

// naiveMask draws one mask from its definition, lane by lane.
func naiveMask(v int, key [2]uint32, counter [3]uint32, index []uint32, threshold uint32) (mask uint16) {
	for lane, image := range index {
		words := philox.Block(key, [4]uint32{counter[0] + uint32(v/8), counter[1], counter[2], image})
		numbers := [8]uint32{
			words[0] & 0xffff, words[0] >> 16, words[1] & 0xffff, words[1] >> 16,
			words[2] & 0xffff, words[2] >> 16, words[3] & 0xffff, words[3] >> 16,
		}
		if numbers[v%8] >= threshold {
			mask |= 1 << lane
		}
	}
	return mask
}

func TestDrawMasksFollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(41, 42))
		edges := []uint32{0, 1, 32767, 32768, 65535, 65536}
		for range draws(400) {
			n, images := r.IntN(60), r.IntN(Lanes+1)
			key := [2]uint32{r.Uint32(), r.Uint32()}
			counter := [3]uint32{r.Uint32() | -uint32(r.IntN(2)), r.Uint32(), r.Uint32()} // may begin at the last block
			index := make([]uint32, images)
			for i := range index {
				index[i] = r.Uint32()
			}
			threshold := r.Uint32N(65537)
			if r.IntN(2) == 0 {
				threshold = edges[r.IntN(len(edges))]
			}
			const untouched = 0xa5a5
			masks := make([]uint16, n+1)
			for i := range masks {
				masks[i] = untouched
			}
			DrawMasks(masks[:n], key, counter, index, threshold)
			for v, got := range masks[:n] {
				if want := naiveMask(v, key, counter, index, threshold); got != want {
					t.Fatalf("%d masks, %d images, counter %x, threshold %d: mask %d = %016b, want %016b", n, images, counter, threshold, v, got, want)
				}
			}
			if masks[n] != untouched {
				t.Fatalf("%d masks: the one after them became %#x", n, masks[n])
			}
		}
	})
}

// A number that equals the threshold is kept. Random thresholds seldom meet one.
func TestDrawMasksKeepsWhatEqualsTheThreshold(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		key, counter, index := [2]uint32{1, 2}, [3]uint32{3, 4, 5}, []uint32{6}
		words := philox.Block(key, [4]uint32{3, 4, 5, 6})
		for v := range 8 {
			number := words[v/2] >> (v % 2 * 16) & 0xffff
			for _, tc := range []struct {
				threshold uint32
				want      uint16
			}{{number, 1}, {number + 1, 0}} {
				var masks [8]uint16
				DrawMasks(masks[:], key, counter, index, tc.threshold)
				if masks[v] != tc.want {
					t.Errorf("mask %d at threshold %d of number %d = %d, want %d", v, tc.threshold, number, masks[v], tc.want)
				}
			}
		}
	})
}

func TestApplyMasksFollowsItsDefinition(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(43, 44))
		for range draws(400) {
			n, step := r.IntN(20), r.IntN(5)
			src := operands(r, n*Lanes)
			for i := range src {
				switch r.IntN(20) {
				case 0:
					src[i] = float32(math.Inf(1 - 2*r.IntN(2)))
				case 1:
					src[i] = math.Float32frombits(0x7fc00000)
				}
			}
			masks := make([]uint16, max(0, n-1)*step+1)
			for i := range masks {
				masks[i] = uint16(r.Uint32())
			}
			scale := r.Float32() * 3
			want := make([]float32, n*Lanes+1)
			for i := range n * Lanes {
				if masks[i/Lanes*step]>>(i%Lanes)&1 == 1 {
					want[i] = product(src[i], scale)
				}
			}
			got := make([]float32, n*Lanes+1)
			for i := range n * Lanes {
				got[i] = -7
			}
			ApplyMasks(got[:n*Lanes], src, masks, step, scale)
			compare(t, fmt.Sprintf("%d columns, step %d", n, step), got, want)
			ApplyMasks(src, src, masks, step, scale)
			compare(t, fmt.Sprintf("%d columns, step %d, in place", n, step), src, want[:n*Lanes])
		}
	})
}

func TestMasksAllocateNothing(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		masks, index, x := make([]uint16, 37), make([]uint32, Lanes), make([]float32, 37*Lanes)
		if n := testing.AllocsPerRun(10, func() {
			DrawMasks(masks, [2]uint32{}, [3]uint32{}, index, 1)
			ApplyMasks(x, x, masks, 1, 2)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

// 2,304 values are those of a lane block before AlexNet's first dropout.
func BenchmarkDrawMasks(b *testing.B) {
	eachKernelBench(b, func(b *testing.B) {
		masks, index := make([]uint16, 2304), make([]uint32, Lanes)
		b.SetBytes(int64(len(masks) * Lanes * 4)) // of the activations they are for
		for b.Loop() {
			DrawMasks(masks, [2]uint32{1, 2}, [3]uint32{0, 1, 2}, index, 32768)
		}
	})
}

func BenchmarkApplyMasks(b *testing.B) {
	eachKernelBench(b, func(b *testing.B) {
		masks, x := make([]uint16, 384), filled(384*Lanes)
		for i := range masks {
			masks[i] = uint16(i * 40503)
		}
		b.SetBytes(int64(len(x) * 4))
		for b.Loop() {
			ApplyMasks(x, x, masks, 1, 1)
		}
	})
}
