package cpu

import (
	"syscall"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/kernel"
)

func now() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func TestPeak(t *testing.T) {
	for _, tc := range []struct {
		k, rowA, stepA int
		zero           bool
	}{{16, 16, 1, true}, {16, 16, 1, false}, {128, 4096, 1, false}, {384, 4096, 1, false}, {384, 1, 6, false}, {384, 384, 1, false}, {192, 1, 6, false}} {
		a := make([]float32, 6*4096+4096)
		b := make([]float32, 16*512)
		c := make([]float32, 96)
		n := 600_000_000 / (tc.k * 96)
		bl := []kernel.Block{{0, 0, tc.k}}
		s := now()
		for range n {
			if tc.zero {
				kernel.ChainZero(c, 16, 6, a, tc.rowA, tc.stepA, b, bl)
			} else {
				kernel.Chain(c, 16, 6, a, tc.rowA, tc.stepA, b, bl)
			}
		}
		d := now() - s
		t.Logf("%+v: %.1f GMAC/s, %.1f ns a call", tc, float64(n*tc.k*96)/d.Seconds()/1e9, d.Seconds()*1e9/float64(n))
	}
	x := make([]float32, 3072)
	y := make([]float32, 3072)
	s := now()
	for range 100000 {
		kernel.Add(x, x, y)
	}
	t.Logf("Add 3072: %.1f ns", float64((now()-s).Nanoseconds())/100000)
}
