package dataset

import (
	"slices"
	"sync"

	"github.com/muster-train/muster/internal/philox"
)

// Sizes of the synthetic set.
const (
	syntheticTrain = 10000
	syntheticTest  = 2000
)

// syntheticClasses are the names of what is drawn; the order is that of the
// kinds in figure.go.
func syntheticClasses() []string {
	return []string{"stripes", "bars", "checks", "dots", "clouds", "disc", "square", "triangle", "cross", "ring"}
}

// Synthetic returns the built-in images: five textures and five shapes of 1,000
// training and 200 test images each, in random colours, places, sizes and
// angles, the figure always brighter than its ground, under uneven light, with
// noise and specks. Colours say nothing of the class and places little, so that
// a linear classifier reaches about 28 % of the test images; forms tell it, so
// that LeNet-5 reaches about 77 % after five epochs (PyTorch, batch 64, rate
// 0.005). Drawing is integer arithmetic on counter-based random numbers, so the
// set has the same bytes everywhere. It is drawn once in a process, which takes
// about 0.7 s, and shared.
func Synthetic() *Set { return synthetic() }

var synthetic = sync.OnceValue(func() *Set { return drawSet(syntheticTrain, syntheticTest) })

// drawSet draws the first images of the synthetic set.
func drawSet(train, test int) *Set {
	return &Set{
		Name:      "synthetic",
		Train:     drawImages(0, train),
		Test:      drawImages(1, test),
		Classes:   syntheticClasses(),
		Source:    "built in",
		Synthetic: true,
	}
}

// drawImages draws n images of part 0, to train on, or 1, to test on. Each run
// of ten images holds each class once, in random order.
func drawImages(part uint32, n int) *Images {
	im := &Images{Pixels: make([]byte, n*PixelBytes), Labels: make([]uint8, n), Side: Side}
	kinds := []uint8{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
	for run := range slices.Chunk(im.Labels, len(kinds)) {
		copy(run, kinds)
	}
	for i := 0; i < n; i += len(kinds) {
		run := im.Labels[i:min(i+len(kinds), n)]
		s := philox.New(0, philox.Synthetic, 2+part, uint32(i))
		for k := len(run) - 1; k > 0; k-- {
			j := s.IntN(k + 1)
			run[k], run[j] = run[j], run[k]
		}
	}
	for i := range n {
		s := philox.New(0, philox.Synthetic, part, uint32(i))
		drawImage((*[PixelBytes]byte)(im.Image(i)), int(im.Labels[i]), &s)
	}
	return im
}

// colour is red, green and blue, 0 to 255.
type colour [3]int

func randomColour(s *philox.Stream) colour {
	w := s.Uint32()
	return colour{int(w & 255), int(w >> 8 & 255), int(w >> 16 & 255)}
}

// brightness is 0 to 765.
func (c colour) brightness() int { return c[0] + c[1] + c[2] }

// leastContrast is how much brighter than its ground a figure is at least.
const leastContrast = 128

// speck is a small disc over the image, there for confusion.
type speck struct {
	x, y, r int // in 1/256 pixel
	colour  colour
}

// drawImage draws one image of a kind.
func drawImage(dst *[PixelBytes]byte, kind int, s *philox.Stream) {
	ground, fore := randomColour(s), randomColour(s)
	for fore.brightness() < ground.brightness()+leastContrast {
		ground, fore = randomColour(s), randomColour(s)
	}
	f := randomFigure(kind, s)
	var specks [2]speck
	n := s.IntN(len(specks) + 1)
	for i := range n {
		specks[i] = speck{s.IntN(Side * 256), s.IntN(Side * 256), 256 + s.IntN(2*256), randomColour(s)}
	}
	lightX, lightY := s.IntN(5)-2, s.IntN(5)-2 // levels per pixel
	noise := 8 + s.IntN(56)                    // half width, in levels
	for y := range Side {
		var bits [Channels * Side / 16][4]uint32
		for i := range bits {
			bits[i] = s.Next128()
		}
		for x := range Side {
			share := f.cover(x, y) // of 4
			point := colour{}
			for c := range point {
				point[c] = (share*fore[c] + (4-share)*ground[c]) / 4
			}
			for _, sp := range specks[:n] {
				if dx, dy := x*256+128-sp.x, y*256+128-sp.y; dx*dx+dy*dy < sp.r*sp.r {
					point = sp.colour
				}
			}
			light := lightX*(x-Side/2) + lightY*(y-Side/2)
			for c, v := range point {
				k := c*Side + x
				r := int(bits[k/16][k/4&3]>>(k&3*8)) & 255
				v += light + (r-128)*noise>>7
				dst[c*plane+y*Side+x] = byte(min(max(v, 0), 255))
			}
		}
	}
}
