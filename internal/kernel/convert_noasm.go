//go:build !amd64

package kernel

func toBfloat16(dst []uint16, x []float32)            { toBfloat16Portable(dst, x) }
func fromBfloat16(dst []float32, x []uint16)          { fromBfloat16Portable(dst, x) }
func magnitude(x []float32) uint32                    { return magnitudePortable(x) }
func toInt8(q []int8, x []float32, scale float32)     { toInt8Portable(q, x, scale) }
func fromInt8(dst []float32, q []int8, scale float32) { fromInt8Portable(dst, q, scale) }
