//go:build !amd64

package kernel

func drawMasks(masks []uint16, key [2]uint32, counter [3]uint32, index []uint32, threshold uint32) {
	drawMasksPortable(masks, key, counter, index, threshold)
}

func applyMasks(dst, src []float32, masks []uint16, step int, scale float32) {
	applyMasksPortable(dst, src, masks, step, scale)
}
