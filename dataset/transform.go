package dataset

import (
	"fmt"
	"math"
)

// maxSide bounds the side of a network's input, in pixels.
const maxSide = 1024

// Transform turns the bytes of an image into network input: the random changes
// of Augment (in training only), then (pixel/255 - Mean) / Std per channel, then
// a bilinear resize to Side. It is a value without state; its methods are pure
// functions of their arguments, allocate nothing and are safe for concurrent
// use.
type Transform struct {
	Side    int        // side of the network's input in pixels: 0 or 32 as is, up to 1024 resized
	Mean    [3]float32 // of pixel/255, red, green, blue
	Std     [3]float32 // deviation of pixel/255; 0 means 1
	Augment Augment    // changes to training images
}

// Validate tells what is wrong with t, or nil.
func (t Transform) Validate() error {
	if t.Side != 0 && (t.Side < Side || t.Side > maxSide) {
		return fmt.Errorf("input size %d: must be %d to %d", t.Side, Side, maxSide)
	}
	for c := range Channels {
		if m := float64(t.Mean[c]); math.IsNaN(m) || math.IsInf(m, 0) {
			return fmt.Errorf("mean %v of channel %d: must be finite", m, c)
		}
		if d := float64(t.Std[c]); !(d >= 0) || math.IsInf(d, 0) {
			return fmt.Errorf("deviation %v of channel %d: must be positive, or 0 for none", d, c)
		}
	}
	return nil
}

// OutputSide returns the height and width of the network input.
func (t Transform) OutputSide() int {
	if t.Side == 0 {
		return Side
	}
	return t.Side
}

// Len returns the values of one image's network input.
func (t Transform) Len() int {
	side := t.OutputSide()
	return Channels * side * side
}

// Train prepares training image number index for an epoch.
//
//	dst (3, Side, Side)   pixels (3, 32, 32)
func (t Transform) Train(dst []float32, pixels []byte, seed uint64, epoch int, index uint32) {
	t.apply(dst, pixels, t.Augment.choose(seed, epoch, index))
}

// Test prepares a test image: no random changes.
//
//	dst (3, Side, Side)   pixels (3, 32, 32)
func (t Transform) Test(dst []float32, pixels []byte) {
	t.apply(dst, pixels, choice{})
}

func (t Transform) apply(dst []float32, pixels []byte, c choice) {
	if t.OutputSide() == Side {
		t.normalise((*[PixelBytes]float32)(dst), (*[PixelBytes]byte)(pixels), c)
		return
	}
	var small [PixelBytes]float32
	t.normalise(&small, (*[PixelBytes]byte)(pixels), c)
	resize(dst[:t.Len()], &small, t.Side)
}

// normalise crops, flips, shifts and scales pixels into dst, through one table
// of the 256 values per channel.
func (t Transform) normalise(dst *[PixelBytes]float32, pixels *[PixelBytes]byte, c choice) {
	var table [256]float32
	for channel := range Channels {
		std := t.Std[channel]
		if std == 0 {
			std = 1
		}
		for v := range table {
			x := float32(v) / 255
			table[v] = (x + c.shift[channel] - t.Mean[channel]) / std
		}
		in := (*[plane]byte)(pixels[channel*plane:])
		out := (*[plane]float32)(dst[channel*plane:])
		for y := range Side {
			row := (*[Side]float32)(out[y*Side:])
			if sy := y + c.dy; sy < 0 || sy >= Side {
				for x := range row {
					row[x] = table[0]
				}
			} else {
				normaliseRow(row, (*[Side]byte)(in[sy*Side:]), &table, c.dx, c.flip)
			}
		}
		if c.cut {
			for y := max(0, c.cy-hole/2); y < min(Side, c.cy+hole/2); y++ {
				clear(out[y*Side+max(0, c.cx-hole/2) : y*Side+min(Side, c.cx+hole/2)])
			}
		}
	}
}

// normaliseRow writes one row: in shifted by dx, black where nothing is, then
// mirrored if flip.
func normaliseRow(row *[Side]float32, in *[Side]byte, table *[256]float32, dx int, flip bool) {
	if dx != 0 {
		black := table[0]
		for x := range row {
			row[x] = black
		}
	}
	from, to := max(0, -dx), min(Side, Side-dx)
	seen := in[from+dx : to+dx]
	if flip {
		out := row[Side-to : Side-from]
		for i, v := range seen {
			out[len(out)-1-i] = table[v]
		}
		return
	}
	out := row[from:to]
	for i, v := range seen {
		out[i] = table[v]
	}
}
