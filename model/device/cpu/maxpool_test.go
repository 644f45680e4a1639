package cpu

import (
	"slices"
	"testing"

	"github.com/muster-train/muster/model/device"
)

// What backward gathers for an input is what forward took the input for: every
// output in whose window it is, in row-major order, and no other. Windows overlap,
// leave gaps, reach outside the image or end before its last row.
func TestOutputsOfAnInputAreThoseInWhoseWindowItIs(t *testing.T) {
	for _, w := range []window{
		{kernel: 3, stride: 2, in: device.Shape{H: 8, W: 9}, out: device.Shape{H: 4, W: 4}},
		{kernel: 3, stride: 2, in: device.Shape{H: 7, W: 8}, out: device.Shape{H: 4, W: 4}, padTop: 1},
		{kernel: 2, stride: 2, in: device.Shape{H: 6, W: 6}, out: device.Shape{H: 3, W: 3}},
		{kernel: 2, stride: 3, in: device.Shape{H: 9, W: 8}, out: device.Shape{H: 3, W: 3}},
		{kernel: 5, stride: 1, in: device.Shape{H: 4, W: 6}, out: device.Shape{H: 4, W: 6}, padTop: 2, padLeft: 2},
		{kernel: 4, stride: 4, in: device.Shape{H: 4, W: 4}, out: device.Shape{H: 1, W: 1}},
	} {
		const n = 16
		want := make([][]int, w.in.H*w.in.W)
		for oy := range w.out.H {
			for ox := range w.out.W {
				from := w.input(oy, ox, n)
				for r := range from.Rows {
					for s := range from.Columns {
						pixel := from.Pixel + r*from.PixelRow + s
						want[pixel] = append(want[pixel], oy*w.out.W+ox)
					}
				}
			}
		}
		for pixel, outputs := range want {
			var got []int
			to := w.output(pixel/w.in.W, pixel%w.in.W, n)
			for r := range to.Rows {
				for s := range to.Columns {
					got = append(got, to.Pixel+r*to.PixelRow+s)
				}
			}
			if !slices.Equal(got, outputs) {
				t.Errorf("%+v: pixel %d is in the windows of outputs %v, want %v", w, pixel, got, outputs)
			}
		}
	}
}
