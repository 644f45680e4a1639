package kernel

import "math"

// Int8Block is the number of values that share a scale.
const Int8Block = 256

// ToBfloat16 rounds to the upper 16 bits of a float32, to nearest, ties to even:
//
//	dst[i] = (u + 0x7fff + (u>>16)&1) >> 16, u the bits of x[i]
//
// Subnormals are rounded like all others, and what is too large becomes an
// infinity. A NaN keeps its sign and upper bits and becomes quiet.
//
//	dst, x (n), n = len(dst)
func ToBfloat16(dst []uint16, x []float32) {
	if checked {
		checkConvert(len(dst), len(x))
	}
	toBfloat16(dst, x)
}

// FromBfloat16 computes the float32s whose upper bits are x and whose lower ones
// are 0, which is exact.
//
//	dst, x (n), n = len(dst)
func FromBfloat16(dst []float32, x []uint16) {
	if checked {
		checkConvert(len(dst), len(x))
	}
	fromBfloat16(dst, x)
}

// ToInt8 writes x as whole numbers of a scale, one for each Int8Block values,
// the last block being shorter:
//
//	scale = max|x| / 127, or the float32 below it where 127*scale would be infinite
//	q     = x / scale, rounded to nearest, ties to even, at most 127 and at least -127
//
// where the quotients are float32s. Where scale is 0, as in a block of zeros, q
// is 0. A block that holds an infinity or a NaN has a scale of NaN and zeros for
// q, so that FromInt8 gives NaNs: what went wrong is not hidden.
//
//	q, x (n), n = len(q)   scales (ceil(n/Int8Block))
func ToInt8(q []int8, scales, x []float32) {
	if checked {
		checkConvert(len(q), len(x))
		checkConvert((len(q)+Int8Block-1)/Int8Block, len(scales))
	}
	for first := 0; first < len(q); first += Int8Block {
		end := min(first+Int8Block, len(q))
		scales[first/Int8Block] = blockToInt8(q[first:end], x[first:end])
	}
}

// FromInt8 computes dst[i] = q[i] * scales[i/Int8Block].
//
//	dst, q (n), n = len(dst)   scales (ceil(n/Int8Block))
func FromInt8(dst []float32, q []int8, scales []float32) {
	if checked {
		checkConvert(len(dst), len(q))
		checkConvert((len(dst)+Int8Block-1)/Int8Block, len(scales))
	}
	for first := 0; first < len(dst); first += Int8Block {
		end := min(first+Int8Block, len(dst))
		fromInt8(dst[first:end], q[first:end], scales[first/Int8Block])
	}
}

// blockToInt8 converts one block and returns its scale.
func blockToInt8(q []int8, x []float32) float32 {
	const infinity = 0xff << 23
	bits := magnitude(x)
	if bits >= infinity {
		clear(q)
		return float32(math.NaN())
	}
	scale := math.Float32frombits(bits) / 127
	if scale == 0 {
		clear(q)
		return 0
	}
	if scale*127 > math.MaxFloat32 { // the quotient of the largest numbers, rounded up
		scale = math.Nextafter32(scale, 0)
	}
	toInt8(q, x, scale)
	return scale
}

func toBfloat16Portable(dst []uint16, x []float32) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = bfloat16(v)
	}
}

func bfloat16(x float32) uint16 {
	u := math.Float32bits(x)
	if x != x {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

func fromBfloat16Portable(dst []float32, x []uint16) {
	x = x[:len(dst)]
	for i, v := range x {
		dst[i] = math.Float32frombits(uint32(v) << 16)
	}
}

// magnitudePortable returns the largest bits of x without their signs. These rise
// with the value, from 0 to infinity and on to the NaNs.
func magnitudePortable(x []float32) uint32 {
	var most uint32
	for _, v := range x {
		most = max(most, math.Float32bits(v)&^(1<<31))
	}
	return most
}

func toInt8Portable(q []int8, x []float32, scale float32) {
	x = x[:len(q)]
	for i, v := range x {
		q[i] = int8(max(-127, min(127, math.RoundToEven(float64(v/scale)))))
	}
}

func fromInt8Portable(dst []float32, q []int8, scale float32) {
	q = q[:len(dst)]
	for i, v := range q {
		dst[i] = float32(v) * scale
	}
}
