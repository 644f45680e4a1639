package kernel

// peak runs the form in use and returns the number of sums that it wrote.
func peak(sums *[peakValues]float32, x, y float32, turns int) int {
	switch active {
	case avx512:
		peakAVX512(&sums[0], x, y, turns)
		return 28 * 16
	case avx2:
		peakAVX2(&sums[0], x, y, turns)
		return 14 * 8
	}
	return peakPortable(sums, x, y, turns)
}
