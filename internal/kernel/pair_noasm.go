//go:build !amd64

package kernel

func pairs(dst, upper, lower []float32) { pairsPortable(dst, upper, lower) }
func pairNext(dst, x []float32)         { pairNextPortable(dst, x) }
