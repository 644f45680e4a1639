package cpu

import (
	"fmt"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
)

// TestStripesHoldWhatTheKernelMeets compares stripes with their definition: for
// each output and tap the value that the tap meets, in each image, or zero where
// it meets none. A first batch leaves other values everywhere that is written.
func TestStripesHoldWhatTheKernelMeets(t *testing.T) {
	defer kernel.Select("")
	for _, name := range kernel.Names() {
		if err := kernel.Select(name); err != nil {
			t.Fatal(err)
		}
		axes(func(in, out, extent, stride, pad int) {
			// Of the axes some are enough; rows and columns differ, so do the groups.
			if (in+2*out+3*extent+5*stride+7*pad)%23 != 0 {
				return
			}
			for _, channels := range []struct{ c, groups int }{{1, 1}, {3, 1}, {6, 2}, {15, 1}, {16, 2}} {
				g := newGeometry(device.Shape{C: channels.c, H: in, W: in + 1}, device.Shape{C: 4, H: out, W: out}, extent, stride, pad, pad/2, channels.groups)
				checkStripes(t, &g, fmt.Sprintf("%s kernels, %+v of %dx%d, kernel %d, stride %d, pad %d", name, channels, in, in+1, extent, stride, pad))
			}
		})
	}
}

func checkStripes(t *testing.T, g *geometry, what string) {
	const blocks = 2
	s := newStripes(g)
	values := g.in.Values() * lanes
	l := &matmul{geometry: *g, ends: ends{inSize: values, x: make([]float32, blocks*values)}}
	l.dw = weightGradient{striped: true, stripes: s, x: make([]float32, blocks*g.groups*s.size+lanes)}
	for batch := range 2 {
		for i := range l.x {
			l.x[i] = float32(i + 1 + batch*len(l.x))
		}
		for unit := range blocks * g.in.H {
			(*stripeTask)(l).do(0, unit)
		}
	}
	for block := range blocks {
		for group := range g.groups {
			for y := range s.rows {
				for lane := range lanes {
					for place := range ((g.out.W-1)*g.stride + g.columns) * g.cg {
						x, c := place/g.cg-g.padLeft, place%g.cg
						var want float32
						if iy := y - g.padTop; iy >= 0 && iy < g.in.H && x >= 0 && x < g.in.W {
							want = l.x[block*values+((iy*g.in.W+x)*g.in.C+group*g.cg+c)*lanes+lane]
						}
						got := l.dw.x[(block*g.groups+group)*s.size+y*s.row+lane*s.lane+place]
						if got != want {
							t.Fatalf("%s: row %d, place %d of image %d of group %d is %g, want %g", what, y, place, lane, group, got, want)
						}
					}
				}
			}
		}
	}
}
