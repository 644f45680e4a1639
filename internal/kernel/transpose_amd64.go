package kernel

import "unsafe"

// firstColumns[Lanes-n:] begins with the masks of the first n of Lanes columns.
var firstColumns = func() (masks [2 * Lanes]uint32) {
	for i := range Lanes {
		masks[i] = 1<<32 - 1
	}
	return masks
}()

func transpose(dst []float32, row, panel int, x []float32, offsets []int) {
	if active == portable {
		transposePortable(dst, row, panel, x, offsets)
		return
	}
	if n := len(offsets) / Lanes; n > 0 {
		transposeWhole(dst, row, panel, x, offsets, n, &firstColumns[0])
		dst, offsets = dst[min(n*panel, len(dst)):], offsets[n*Lanes:]
	}
	if n := len(offsets); n > 0 {
		// Columns that are not there are read where the first is, then masked.
		var whole [Lanes]int
		for i := range whole {
			whole[i] = offsets[0]
		}
		copy(whole[:], offsets)
		transposeWhole(dst, row, panel, x, whole[:], 1, &firstColumns[Lanes-n])
	}
}

// Wider vectors gain nothing here, so AVX2's forms serve AVX-512 too.

func transposeWhole(dst []float32, row, panel int, x []float32, offsets []int, panels int, mask *uint32) {
	transposeAVX2(unsafe.SliceData(dst), row, panel, unsafe.SliceData(x), unsafe.SliceData(offsets), panels, mask)
}

// The assembly takes lanes four at a time. Shards seldom have another number of
// images in a lane block, so the rest is left to the portable form.
const lanesAtOnce = 4

func addLanes(sum, x []float32, lanes, pixels, step int) {
	switch {
	case len(sum) == 0 || lanes == 0 || pixels == 0:
		return
	case active == portable || lanes%lanesAtOnce != 0:
		addLanesPortable(sum, x, lanes, pixels, step)
		return
	}
	var sums [Lanes]float32
	copy(sums[:], sum)
	offsets := channelOffsets(len(sum))
	if len(sum) > Lanes/2 {
		addLanes16AVX2(&sums[0], unsafe.SliceData(x), &offsets[0], lanes/lanesAtOnce, pixels, step)
	} else {
		addLanes8AVX2(&sums[0], unsafe.SliceData(x), &offsets[0], lanes/lanesAtOnce, pixels, step)
	}
	copy(sum, sums[:])
}

// channelOffsets returns where n channels begin. Those that are not there are
// said to be where the first is, and what becomes of them is thrown away.
func channelOffsets(n int) (offsets [Lanes]int) {
	for k := range n {
		offsets[k] = k * Lanes
	}
	return offsets
}
