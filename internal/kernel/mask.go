package kernel

import (
	"math"

	"github.com/muster-train/muster/internal/philox"
)

// maskGroup is the number of masks that one block of random bits draws.
const maskGroup = 8

// DrawMasks draws masks, each with one bit for each lane: bit i of masks[v] is
//
//	number v%8 of philox.Block(key, {counter[0] + v/8, counter[1], counter[2], index[i]}) >= threshold
//
// where a block's numbers are the lower and the upper 16 bits of its words,
// (w0&0xffff, w0>>16, w1&0xffff, ...). Bits of lanes beyond those of index are 0.
//
//	masks (n)   index (0 to Lanes)   threshold 0 to 65536
func DrawMasks(masks []uint16, key [2]uint32, counter [3]uint32, index []uint32, threshold uint32) {
	if checked {
		checkDraw(masks, index, threshold)
	}
	drawMasks(masks, key, counter, index, threshold)
}

// ApplyMasks multiplies what masks keep by scale and makes all else +0:
//
//	dst[c*Lanes + i] = src[c*Lanes + i] * scale where masks[c*step] has bit i, else +0
//
// for 0 <= c < n and 0 <= i < Lanes.
//
//	dst, src (n, Lanes), n = len(dst)/Lanes   masks ((n-1)*step + 1 or more)   step >= 0
//
// dst may be src; otherwise they do not overlap.
func ApplyMasks(dst, src []float32, masks []uint16, step int, scale float32) {
	if checked {
		checkMasks(dst, src, masks, step)
	}
	applyMasks(dst, src, masks, step, scale)
}

func drawMasksPortable(masks []uint16, key [2]uint32, counter [3]uint32, index []uint32, threshold uint32) {
	clear(masks)
	for lane, image := range index {
		for v := 0; v < len(masks); v += maskGroup {
			words := philox.Block(key, [4]uint32{counter[0] + uint32(v/maskGroup), counter[1], counter[2], image})
			group := masks[v:min(v+maskGroup, len(masks))]
			for j := range group {
				number := words[j/2] >> (j % 2 * 16) & 0xffff
				// The sign of the difference, for a branch would be mispredicted.
				less := uint16((number - threshold) >> 31)
				group[j] |= (1 - less) << lane
			}
		}
	}
}

func applyMasksPortable(dst, src []float32, masks []uint16, step int, scale float32) {
	for c := range len(dst) / Lanes {
		mask := int32(masks[c*step])
		d, s := (*[Lanes]float32)(dst[c*Lanes:]), (*[Lanes]float32)(src[c*Lanes:])
		for lane := range d {
			kept := uint32(mask << (31 - lane) >> 31)
			d[lane] = math.Float32frombits(math.Float32bits(s[lane]*scale) & kept)
		}
	}
}
