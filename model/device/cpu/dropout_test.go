package cpu

import (
	"math"
	"testing"

	"github.com/muster-train/muster/model/device"
)

// TestMaskIsThatOfTheContract compares the bits of a layer with device.Mask,
// for maps whose values are no whole number of blocks of random bits.
func TestMaskIsThatOfTheContract(t *testing.T) {
	for _, tc := range []struct {
		shape  device.Shape
		images int
		p      float32
		layer  uint32
	}{
		{device.Shape{C: 1, H: 1, W: 1}, 1, 0.5, 0},
		{device.Shape{C: 5, H: 3, W: 3}, 17, 0.5, 1},
		{device.Shape{C: 300, H: 1, W: 1}, 33, 0.1, 2},
		{device.Shape{C: 8, H: 2, W: 1}, 16, 0, 3},
		{device.Shape{C: 70, H: 2, W: 4}, 3, 0.99, 65535},
	} {
		p := &plan{pool: &pool{threads: 1}, options: device.Options{Images: tc.images, Nodes: 1}, mostBlocks: (tc.images + lanes - 1) / lanes}
		l := newDropout(p, &device.Dropout{Place: device.Place{In: tc.shape, Out: tc.shape}, P: tc.p, Inverted: true, Layer: tc.layer})
		p.images, p.blocks = tc.images, p.mostBlocks
		p.batch = &device.Batch{Seed: 0xfedcba9876543210, Step: 12345}
		for i := range tc.images {
			p.batch.Index = append(p.batch.Index, uint32(1e6-i))
		}
		n := tc.shape.Values()
		l.x = make([]float32, p.blocks*n*lanes)
		for i := range l.x {
			l.x[i] = -2
		}
		l.y = l.x
		l.forward(true)
		for i := range tc.images {
			keep := device.Mask(nil, n, tc.p, p.batch.Seed, tc.layer, p.batch.Step, p.batch.Index[i])
			for j, kept := range keep {
				var want float32
				if kept {
					want = -2 * (1 / (1 - tc.p))
				}
				c, pixel := j/(tc.shape.H*tc.shape.W), j%(tc.shape.H*tc.shape.W)
				got := l.y[i/lanes*n*lanes+(pixel*tc.shape.C+c)*lanes+i%lanes]
				if math.Float32bits(got) != math.Float32bits(want) {
					t.Fatalf("%+v: value %d of image %d is %g, want %g", tc, j, i, got, want)
				}
			}
		}
	}
}
