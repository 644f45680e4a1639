package kernel

import "unsafe"

// draw is what the assembly reads of a call of DrawMasks. It knows the order.
type draw struct {
	keys      [10][2]uint32 // of each round
	index     [Lanes]uint32
	counter   [3]uint32
	threshold uint32
	lanes     uint32 // one bit for each of index
}

// What is added to the key from round to round.
const weyl0, weyl1 = 0x9E3779B9, 0xBB67AE85

func drawMasks(masks []uint16, key [2]uint32, counter [3]uint32, index []uint32, threshold uint32) {
	groups := len(masks) / maskGroup
	if active == portable || groups == 0 {
		drawMasksPortable(masks, key, counter, index, threshold)
		return
	}
	d := draw{counter: counter, threshold: threshold, lanes: 1<<len(index) - 1}
	copy(d.index[:], index)
	k := key
	for i := range d.keys {
		d.keys[i] = k
		k[0] += weyl0
		k[1] += weyl1
	}
	if active == avx512 {
		drawMasksAVX512(unsafe.SliceData(masks), &d.keys[0][0], groups)
	} else {
		drawMasksAVX2(unsafe.SliceData(masks), &d.keys[0][0], groups)
	}
	counter[0] += uint32(groups)
	drawMasksPortable(masks[groups*maskGroup:], key, counter, index, threshold)
}

func applyMasks(dst, src []float32, masks []uint16, step int, scale float32) {
	n := len(dst) / Lanes
	switch {
	case n == 0:
	case active == avx512:
		applyMasksAVX512(unsafe.SliceData(dst), unsafe.SliceData(src), unsafe.SliceData(masks), step, n, scale)
	case active == avx2:
		applyMasksAVX2(unsafe.SliceData(dst), unsafe.SliceData(src), unsafe.SliceData(masks), step, n, scale)
	default:
		applyMasksPortable(dst, src, masks, step, scale)
	}
}
