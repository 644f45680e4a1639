package kernel

import "math"

// ReLU computes y = max(x, +0): +0 for zeros of both signs, NaN for NaN.
//
//	y, x (n), n = len(y)
//
// y may be x; otherwise they do not overlap.
func ReLU(y, x []float32) {
	if checked {
		checkElements([][]float32{y}, [][]float32{x})
	}
	relu(y, x)
}

// ReLUBack computes dx = dy where y > 0, and +0 elsewhere. y may be the input of
// ReLU or its output.
//
//	dx, dy, y (n), n = len(dx)
//
// dx may be dy; otherwise it overlaps neither.
func ReLUBack(dx, dy, y []float32) {
	if checked {
		checkElements([][]float32{dx}, [][]float32{dy, y})
	}
	reluBack(dx, dy, y)
}

// LeakyReLU computes y = x where x > 0, and y = x*slope elsewhere.
//
//	y, x (n), n = len(y)
//
// y may be x; otherwise they do not overlap.
func LeakyReLU(y, x []float32, slope float32) {
	if checked {
		checkElements([][]float32{y}, [][]float32{x})
	}
	leakyReLU(y, x, slope)
}

// LeakyReLUBack computes dx = dy where y > 0, and dx = dy*slope elsewhere. y may
// be the input of LeakyReLU, or its output where slope >= 0.
//
//	dx, dy, y (n), n = len(dx)
//
// dx may be dy; otherwise it overlaps neither.
func LeakyReLUBack(dx, dy, y []float32, slope float32) {
	if checked {
		checkElements([][]float32{dx}, [][]float32{dy, y})
	}
	leakyReLUBack(dx, dy, y, slope)
}

func reluPortable(y, x []float32) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] = max(v, 0)
	}
}

func reluBackPortable(dx, dy, y []float32) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i, v := range y {
		dx[i] = math.Float32frombits(math.Float32bits(dy[i]) & positive(v))
	}
}

func leakyReLUPortable(y, x []float32, slope float32) {
	x = x[:len(y)]
	for i, v := range x {
		y[i] = choose(positive(v), v, v*slope)
	}
}

func leakyReLUBackPortable(dx, dy, y []float32, slope float32) {
	dy, y = dy[:len(dx)], y[:len(dx)]
	for i, v := range y {
		dx[i] = choose(positive(v), dy[i], dy[i]*slope)
	}
}

// positive returns all ones where v > 0, else none. The pattern is then one of 1
// to infinity's. Signs of differences tell, so that the processor need not
// foretell a branch; of a NaN's sign, which machines do not agree on, nothing
// depends.
func positive(v float32) uint32 {
	const pastInfinity = 0x7f800001
	b := int32(math.Float32bits(v))
	return uint32((^b & -b & (b - pastInfinity)) >> 31)
}

// choose returns yes where mask is all ones, and no where it is none.
func choose(mask uint32, yes, no float32) float32 {
	other := math.Float32bits(no)
	return math.Float32frombits(other ^ (other^math.Float32bits(yes))&mask)
}
