package dataset

import (
	"fmt"
	"math/bits"
	"strings"

	"github.com/muster-train/muster/internal/philox"
)

// Augment is a set of random changes to training images.
type Augment uint8

// The changes.
const (
	// PadCrop pads an image with 4 black pixels on each side and takes one of
	// the 81 windows of the original size.
	PadCrop Augment = 1 << iota
	// Flip mirrors every other image left to right.
	Flip
	// ColourPCA adds to each channel of pixel/255 one amount for the whole
	// image, along the principal components of the colours of CIFAR-10, as the
	// 2012 paper does: sum over k of p_k * alpha_k * lambda_k, with alpha_k
	// normal of mean 0 and deviation 0.1. Values may leave [0, 1].
	ColourPCA
	// Cutout sets a square of 8 x 8 pixels to 0, the mean colour where a
	// network takes it off. Its centre is anywhere on the image, so that it may
	// reach beyond it (DeVries and Taylor, 2017).
	Cutout
)

// padding is the border of PadCrop, in pixels.
const padding = 4

// hole is the side of Cutout's square, in pixels.
const hole = 8

var augmentNames = [...]string{"pad-crop", "flip", "colour-pca", "cutout"}

// ParseAugment reads "none", "" (the same) or a comma-separated list of
// pad-crop, flip, colour-pca and cutout.
func ParseAugment(text string) (Augment, error) {
	if text == "" || text == "none" {
		return 0, nil
	}
	var a Augment
	for _, name := range strings.Split(text, ",") {
		bit := Augment(0)
		for i, known := range augmentNames {
			if name == known {
				bit = 1 << i
			}
		}
		if bit == 0 {
			return 0, fmt.Errorf("augment %q: unknown %q; must be none or a comma-separated list of %s", text, name, strings.Join(augmentNames[:], ", "))
		}
		if a&bit != 0 {
			return 0, fmt.Errorf("augment %q: %s is there twice", text, name)
		}
		a |= bit
	}
	return a, nil
}

// String returns the form that ParseAugment reads.
func (a Augment) String() string {
	var names []string
	for i, name := range augmentNames {
		if a&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

// choice is what chance decided for one image in one epoch.
type choice struct {
	dy, dx int        // upper left corner of the window, in [-padding, padding]
	flip   bool       // mirror left to right
	shift  [3]float32 // added to pixel/255 of each channel

	cut    bool // set a square to 0
	cy, cx int  // its centre: it begins half its side above and left of that
}

// choose draws the choice of one image. The parts of the stream that belong to
// one change are the same whether others are made or not.
func (a Augment) choose(seed uint64, epoch int, index uint32) choice {
	var c choice
	if a == 0 {
		return c
	}
	s := philox.New(seed, philox.Augment, uint32(epoch), index)
	w := s.Next128()
	if a&PadCrop != 0 {
		// The high word of a product: uniform to one part in 2^28.
		y, _ := bits.Mul32(w[0], 2*padding+1)
		x, _ := bits.Mul32(w[1], 2*padding+1)
		c.dy, c.dx = int(y)-padding, int(x)-padding
	}
	if a&Flip != 0 {
		c.flip = w[2]>>31 != 0
	}
	if a&Cutout != 0 {
		c.cut, c.cy, c.cx = true, int(w[3]>>27), int(w[3]>>11)%Side // Side is 32
	}
	if a&ColourPCA != 0 {
		for k := range colourComponents {
			amount := float32(0.1*normal(&s)) * colourVariances[k]
			for channel := range c.shift {
				c.shift[channel] += float32(colourComponents[k][channel] * amount)
			}
		}
	}
	return c
}

// normal draws a standard normal deviate: twelve uniform numbers of 24 bits,
// their mean taken off. Its deviation is exactly 1 (to 2^-48), it reaches to 6
// deviations, and its density is within 0.011 of the normal one: ample for
// colours. The sum is one of integers, so there is nothing to round differently.
func normal(s *philox.Stream) float32 {
	sum := int32(-6 << 24)
	for range 3 {
		for _, w := range s.Next128() {
			sum += int32(w >> 8)
		}
	}
	return float32(sum) * (1.0 / (1 << 24))
}
