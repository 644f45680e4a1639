package cpu

import (
	"testing"

	"github.com/muster-train/muster/internal/kernel"
)

func TestPeak2(t *testing.T) {
	for _, tc := range []struct{ k, run int }{{192, 6}, {384, 6}, {192, 112}, {192, 208}, {192, 192}, {384, 112}, {256, 208}, {128, 400}, {192, 304}} {
		tiles := tc.run / 6
		if tiles == 1 {
			tiles = 32
		}
		a := make([]float32, 1000*1000)
		const items = 8
		b := make([]float32, items*16*4096)
		c := make([]float32, items*96*tiles)
		bl := []kernel.Block{{0, 0, tc.k}}
		n := 1_000_000_000 / (tc.k * 96 * tiles * items)
		s := now()
		for range n {
			for tl := range tiles {
				off, step := tl*6, tc.run
				if tc.run == 6 {
					off = tl * 6 * tc.k
				}
				for i := range items {
					kernel.Chain(c[(i*tiles+tl)*96:], 16, 6, a[off:], 1, step, b[i*16*4096:], bl)
				}
			}
		}
		d := now() - s
		t.Logf("%+v: %.1f GMAC/s", tc, float64(n*tc.k*96*tiles*items)/d.Seconds()/1e9)
	}
}
