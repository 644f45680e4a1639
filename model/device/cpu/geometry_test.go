package cpu

import (
	"fmt"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
)

// axes calls f for many small axes of a convolution.
func axes(f func(in, out, kernel, stride, pad int)) {
	for in := 1; in <= 6; in++ {
		for out := 1; out <= 5; out++ {
			for kernel := 1; kernel <= 6; kernel++ {
				for stride := 1; stride <= 4; stride++ {
					for pad := 0; pad <= 6; pad++ {
						f(in, out, kernel, stride, pad)
					}
				}
			}
		}
	}
}

// TestAxesAgreeWithCounting compares what is computed with trying everything.
func TestAxesAgreeWithCounting(t *testing.T) {
	axes(func(in, out, kernel, stride, pad int) {
		what := fmt.Sprintf("in %d, out %d, kernel %d, stride %d, pad %d", in, out, kernel, stride, pad)
		meets := func(o, tap, i int) bool { return o*stride+tap-pad == i }
		for tap := range kernel {
			first, end := outputs(tap, stride, pad, in, out)
			for o := range out {
				i := o*stride + tap - pad
				if got, want := first <= o && o < end, i >= 0 && i < in; got != want {
					t.Fatalf("%s: tap %d of output %d inside: %v", what, tap, o, got)
				}
			}
		}
		for o := range out {
			first, end := inside(o, stride, pad, in, kernel)
			for tap := range kernel {
				i := o*stride + tap - pad
				if got, want := first <= tap && tap < end, i >= 0 && i < in; got != want {
					t.Fatalf("%s: output %d has tap %d: %v", what, o, tap, got)
				}
			}
		}
		for i := range in {
			first, last, ok := reaching(i, stride, pad, out, kernel)
			for tap := range kernel {
				want := false
				for o := range out {
					want = want || meets(o, tap, i)
				}
				if got := ok && first <= tap && tap <= last && (tap-first)%stride == 0; got != want {
					t.Fatalf("%s: input %d is reached by tap %d: %v", what, i, tap, got)
				}
			}
		}
	})
}

// TestRoutesVisitEachFactorInOrder walks the blocks of every pixel of a few
// convolutions: their places must be those of the taps inside, ascending, and
// meet the right activations.
func TestRoutesVisitEachFactorInOrder(t *testing.T) {
	for _, tc := range []struct {
		in, out                        device.Shape
		kernel, stride, top, left, grp int
	}{
		{device.Shape{C: 3, H: 5, W: 4}, device.Shape{C: 4, H: 5, W: 4}, 3, 1, 1, 1, 1},
		{device.Shape{C: 40, H: 3, W: 3}, device.Shape{C: 60, H: 3, W: 3}, 5, 1, 2, 2, 1},
		{device.Shape{C: 4, H: 7, W: 6}, device.Shape{C: 6, H: 3, W: 3}, 3, 2, 0, 1, 2},
		{device.Shape{C: 2, H: 1, W: 1}, device.Shape{C: 2, H: 1, W: 1}, 3, 1, 1, 1, 1},
		{device.Shape{C: 2, H: 8, W: 8}, device.Shape{C: 3, H: 3, W: 3}, 2, 3, 0, 0, 1},
	} {
		g := newGeometry(tc.in, tc.out, tc.kernel, tc.stride, tc.top, tc.left, tc.grp)
		seg := newSegments(len(g.taps)*g.cg, 100)
		for pixel, st := range g.forwardStops(seg) {
			var want []kernel.Block // of one value each
			oy, ox := pixel/tc.out.W, pixel%tc.out.W
			for i, tp := range g.taps {
				iy, ix := oy*tc.stride+tp.r-tc.top, ox*tc.stride+tp.s-tc.left
				if iy < 0 || iy >= tc.in.H || ix < 0 || ix >= tc.in.W {
					continue
				}
				for c := range g.cg {
					want = append(want, kernel.Block{A: i*g.cg + c, B: ((iy*tc.in.W+ix)*tc.in.C + c) * lanes})
				}
			}
			compareRoute(t, fmt.Sprintf("%+v forward, pixel %d", tc, pixel), seg, st, 1, want)
		}
		seg = newSegments(len(g.taps)*g.kg, 50)
		for pixel, st := range g.backwardStops(seg, 7) {
			var want []kernel.Block
			iy, ix := pixel/tc.in.W, pixel%tc.in.W
			for i, tp := range g.taps {
				oy, ox := iy+tc.top-tp.r, ix+tc.left-tp.s
				if oy < 0 || ox < 0 || oy%tc.stride != 0 || ox%tc.stride != 0 || oy/tc.stride >= tc.out.H || ox/tc.stride >= tc.out.W {
					continue
				}
				for k := range g.kg {
					want = append(want, kernel.Block{A: i*g.kg + k, B: ((oy/tc.stride*tc.out.W+ox/tc.stride)*tc.out.C + k) * lanes})
				}
			}
			compareRoute(t, fmt.Sprintf("%+v backward, pixel %d", tc, pixel), seg, st, 7, want)
		}
	}
}

func compareRoute(t *testing.T, what string, seg segments, st stop, step int, want []kernel.Block) {
	t.Helper()
	var got []kernel.Block
	for s, blocks := range st.route {
		first, end := seg.bounds(s)
		for _, b := range blocks {
			for k := range b.K {
				at := first + b.A/step + k
				if at >= end || b.A%step != 0 {
					t.Fatalf("%s: segment %d [%d, %d) has place %d", what, s, first, end, at)
				}
				got = append(got, kernel.Block{A: at, B: st.base + b.B + k*lanes})
			}
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%s: value %d is %+v, want %+v", what, i, got[i], want[i])
		}
	}
}

func TestSplitCoversEachOutputOnce(t *testing.T) {
	for _, tiles := range []int{1, 2, 5, 16, 17, 683} {
		for _, items := range []int{1, 2, 8, 24, 25, 300} {
			for _, threads := range []int{1, 2, 64} {
				for _, whole := range []bool{false, true} {
					s := newSplit(tiles, mostTiles, items, threads, whole)
					seen := make([]int, tiles*items)
					for unit := range s.units() {
						t0, t1, i0, i1 := s.part(unit)
						if t1-t0 > mostTiles || t1 <= t0 || i1 <= i0 || whole && i1-i0 != items || i1-i0 > mostItems && !whole {
							t.Fatalf("%+v: unit %d has tiles [%d, %d), items [%d, %d)", s, unit, t0, t1, i0, i1)
						}
						for tl := t0; tl < t1; tl++ {
							for i := i0; i < i1; i++ {
								seen[tl*items+i]++
							}
						}
					}
					for i, n := range seen {
						if n != 1 {
							t.Fatalf("%+v: output %d is in %d units", s, i, n)
						}
					}
				}
			}
		}
	}
}

func TestTilesKeepToTheirGroup(t *testing.T) {
	got := fmt.Sprint(tilesOf(2, 21))
	if want := "[{0 10 0} {10 11 0} {21 10 1} {31 11 1}]"; got != want {
		t.Errorf("tiles %s, want %s", got, want)
	}
}
