package cpu

import (
	"math"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
)

// TestLoadPutsEachImageInItsLane compares the input with its definition, for
// maps of whole panels of 16 pixels, of fewer pixels, and of both. Lanes without
// an image are zeros, whatever a larger batch before has left there.
func TestLoadPutsEachImageInItsLane(t *testing.T) {
	defer kernel.Select("")
	for _, name := range kernel.Names() {
		if err := kernel.Select(name); err != nil {
			t.Fatal(err)
		}
		for _, in := range []device.Shape{{C: 1, H: 1, W: 1}, {C: 3, H: 4, W: 4}, {C: 2, H: 3, W: 5}, {C: 3, H: 5, W: 7}} {
			for _, images := range []int{1, 15, 16, 17, 35} {
				n, blocks := in.Values(), (images+lanes-1)/lanes
				p := &plan{graph: &device.Graph{Input: in}, images: images, blocks: blocks}
				p.batch = &device.Batch{Images: make([]float32, images*n)}
				for i := range p.batch.Images {
					p.batch.Images[i] = float32(i + 1)
				}
				p.input = make([]float32, blocks*n*lanes)
				for i := range p.input {
					p.input[i] = -7
				}
				for block := range blocks {
					(*loadTask)(p).do(0, block)
				}
				for i := range p.input {
					image, place := i/(n*lanes)*lanes+i%lanes, i/lanes%n
					pixel, c := place/in.C, place%in.C
					var want float32
					if image < images {
						want = p.batch.Images[image*n+c*in.H*in.W+pixel]
					}
					if math.Float32bits(p.input[i]) != math.Float32bits(want) {
						t.Fatalf("%s kernels, %+v, %d images: channel %d of pixel %d of image %d is %g, want %g",
							name, in, images, c, pixel, image, p.input[i], want)
					}
				}
			}
		}
	}
}
