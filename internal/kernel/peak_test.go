package kernel

import (
	"fmt"
	"testing"
	"time"
)

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

// A tile whose operands lie in the first cache can't be faster than registers:
// where it is, Peak has too few chains. A tenth is left for what disturbs.
func TestNoProductIsFasterThanPeak(t *testing.T) {
	if testing.Short() || checked {
		t.Skip("measures time")
	}
	eachKernel(t, func(t *testing.T) {
		tile := Tile{Rows: TileRows, Columns: TileColumns, RowC: 32, ColumnC: 16, RowA: 128, StepA: 1, StepB: 32, ColumnB: 16}
		a, b, c := filled(14*128), filled(128*32), make([]float32, 14*32)
		blocks := []Block{{K: 128}}
		// As long as each other, by turns, the best of several.
		turns, calls := 1<<17, 1<<10
		if Name() == "portable" {
			turns, calls = 1<<14, 4
		}
		var peak, product float64
		for range 9 {
			start := time.Now()
			n := Peak(turns)
			peak = max(peak, float64(n)/time.Since(start).Seconds())
			start = time.Now()
			for range calls {
				ChainZero(c, a, b, &tile, blocks)
			}
			product = max(product, float64(calls*2*tile.Values()*128)/time.Since(start).Seconds())
		}
		said := fmt.Sprintf("peak %.1f GFLOP/s, a tile of 14x32 %.1f", peak/1e9, product/1e9)
		if t.Log(said); product > 1.1*peak {
			t.Error(said)
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
