//go:build !race && !kernelcheck

package kernel

func checkDraw(masks []uint16, index []uint32, threshold uint32) {}

func checkMasks(dst, src []float32, masks []uint16, step int) {}

func checkTranspose(dst []float32, row, panel int, x []float32, offsets []int) {}

func checkLanes(sum, x []float32, lanes, pixels, step int) {}

func checkConvert(result, operand int) {}
