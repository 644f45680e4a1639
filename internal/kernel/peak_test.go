package kernel

import "testing"

// Every chain is advanced, by every turn: were one left out, or a turn, the peak
// would be told too high.
func TestPeakAdvancesEveryChain(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		for _, turns := range []int{1, 2, 3, 100} {
			// Neither 0.1 nor 0.7 nor their product is a float32: another order or rounding shows.
			const x, y = 0.1, 0.7
			var want float32
			for range turns {
				want = FMA(x, y, want)
			}
			var sums [peakValues]float32
			n := peak(&sums, x, y, turns)
			if n < Lanes || n > peakValues {
				t.Fatalf("%d turns: %d sums, want %d to %d", turns, n, Lanes, peakValues)
			}
			for i, got := range sums {
				if i >= n {
					want = 0
				}
				if got != want {
					t.Fatalf("%d turns: sum %d of %d is %v, want %v", turns, i, n, got, want)
				}
			}
		}
	})
}

func TestPeakCountsTwoForEachFMA(t *testing.T) {
	want := map[string]int{"portable": 2 * Lanes, "avx2": 2 * 14 * 8, "avx512": 2 * 28 * 16}
	eachKernel(t, func(t *testing.T) {
		for _, turns := range []int{1, 1000} {
			if got := Peak(turns); got != turns*want[Name()] {
				t.Errorf("Peak(%d) = %d operations, want %d", turns, got, turns*want[Name()])
			}
		}
	})
}

// Sums that became infinite, or grew no more, might be added at another speed.
func TestPeakGoesOnWithOrdinaryNumbers(t *testing.T) {
	var sums [peakValues]float32
	n := peak(&sums, peakX, peakY, 1<<16)
	if want := float32(peakX * peakY * (1 << 16)); sums[0] != want || sums[n-1] != want {
		t.Errorf("after %d turns sums are %v and %v, want %v", 1<<16, sums[0], sums[n-1], want)
	}
}

func TestPeakAllocatesNothing(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		if n := testing.AllocsPerRun(10, func() { Peak(10) }); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}

func BenchmarkPeak(b *testing.B) {
	eachKernelBench(b, func(b *testing.B) {
		operations := 0
		for b.Loop() {
			operations = Peak(1 << 12)
		}
		b.ReportMetric(float64(operations)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
}
