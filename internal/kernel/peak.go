package kernel

// peakValues is the number of sums of the largest form: 28 vectors of 16.
const peakValues = 28 * 16

// What Peak multiplies: sums grow by their product and never become subnormal,
// infinite or NaN, of which some processors are slow.
const peakX, peakY = 0.75, 0.5

// Peak keeps one core busy with nothing but fused multiply-adds, in the widest
// vectors that the kernels in use know, all operands in registers, and as many
// independent chains as there is room for. It advances each chain by turns steps,
// at least 1, and returns the number of floating-point operations that this took,
// two for each fused multiply-add.
//
// Divided by its time, this is the most that any product by these kernels can
// reach on one core. The portable form is the portable product of one tile that
// stays in the first cache.
func Peak(turns int) (operations int) {
	var sums [peakValues]float32
	return 2 * peak(&sums, peakX, peakY, turns) * turns
}

// peakPortable writes Lanes sums, each fma(x, y, sum) turns times from +0, and
// returns their number.
func peakPortable(sums *[peakValues]float32, x, y float32, turns int) int {
	a, b := [1]float32{x}, [Lanes]float32{}
	for i := range b {
		b[i] = y
	}
	// Steps of 0: every step of k meets the same values.
	t, block := Tile{Rows: 1, Columns: 1}, [1]Block{{K: turns}}
	chainPortable(sums[:Lanes], a[:], b[:], &t, block[:], fromZero, nil)
	return Lanes
}
