package cpu

import (
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
)

const lanes = kernel.Lanes

// geometry is how the outputs of a convolution see its inputs. A fully
// connected layer is the convolution of a 1x1 map whose channels are all its
// values.
type geometry struct {
	in, out          device.Shape
	groups           int
	cg, kg           int // input and output channels of a group
	rows, columns    int // extent of the kernel
	stride           int
	padTop, padLeft  int
	taps             []tap // those that touch the image for some output, row first
	place            []int // number in taps of each tap of the kernel, or -1
	inPixels, pixels int   // of the maps of in and out
}

// tap is a place of the kernel.
type tap struct{ r, s int }

func newGeometry(in, out device.Shape, kernelExtent, stride, padTop, padLeft, groups int) geometry {
	g := geometry{
		in: in, out: out, groups: groups, cg: in.C / groups, kg: out.C / groups,
		rows: kernelExtent, columns: kernelExtent, stride: stride, padTop: padTop, padLeft: padLeft,
		place:    make([]int, kernelExtent*kernelExtent),
		inPixels: in.H * in.W, pixels: out.H * out.W,
	}
	for r := range g.rows {
		for s := range g.columns {
			g.place[r*g.columns+s] = -1
			y0, y1 := outputs(r, stride, padTop, in.H, out.H)
			x0, x1 := outputs(s, stride, padLeft, in.W, out.W)
			if y0 < y1 && x0 < x1 {
				g.place[r*g.columns+s] = len(g.taps)
				g.taps = append(g.taps, tap{r, s})
			}
		}
	}
	return g
}

// outputs returns the outputs [first, end) of one axis whose tap t lies inside
// the image.
func outputs(t, stride, pad, in, out int) (first, end int) {
	// 0 <= o*stride + t - pad < in
	first = max(0, ceilDiv(pad-t, stride))
	end = min(out, ceilDiv(in+pad-t, stride))
	return first, max(first, end)
}

// inside returns the taps [first, end) of one axis that lie inside the image
// for output o.
func inside(o, stride, pad, in, kernel int) (first, end int) {
	first = max(0, pad-o*stride)
	end = min(kernel, in+pad-o*stride)
	return first, max(first, end)
}

// reaching returns the smallest and largest tap of one axis by which input i
// reaches an output; those between lie a stride apart. ok is false where there
// are none.
func reaching(i, stride, pad, out, kernel int) (first, last int, ok bool) {
	first, last = -1, -1
	for t := range kernel {
		if o := i + pad - t; o >= 0 && o%stride == 0 && o/stride < out {
			if first < 0 {
				first = t
			}
			last = t
		}
	}
	return first, last, first >= 0
}

// ceilDiv returns a/b rounded up, for b > 0.
func ceilDiv(a, b int) int {
	if a >= 0 {
		return (a + b - 1) / b
	}
	return -(-a / b)
}
