//go:build !amd64

package kernel

func round(dst, x []float32)       { roundPortable(dst, x) }
func addRound(dst, x, y []float32) { addRoundPortable(dst, x, y) }
