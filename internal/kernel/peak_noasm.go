//go:build !amd64

package kernel

func peak(sums *[peakValues]float32, x, y float32, turns int) int {
	return peakPortable(sums, x, y, turns)
}
