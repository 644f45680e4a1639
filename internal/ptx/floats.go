package ptx

import (
	"math"

	"github.com/muster-train/muster/internal/kernel"
)

func f32(x uint64) float32    { return math.Float32frombits(uint32(x)) }
func bits32(x float32) uint64 { return uint64(math.Float32bits(x)) }

// one and two make functions of float32s.
func one(f func(a float32) float32) (func([4]uint64) uint64, int) {
	return func(x [4]uint64) uint64 { return bits32(f(f32(x[0]))) }, 1
}

func two(f func(a, b float32) float32) (func([4]uint64) uint64, int) {
	return func(x [4]uint64) uint64 { return bits32(f(f32(x[0]), f32(x[1]))) }, 2
}

func floatFunction(o opcode) (func([4]uint64) uint64, int) {
	rounded := o.only("rn")
	switch {
	case o.name == "mov" && o.only():
		return func(x [4]uint64) uint64 { return x[0] }, 1
	case o.name == "selp" && o.only():
		return selp, 3
	case o.name == "add" && rounded:
		return two(func(a, b float32) float32 { return a + b })
	case o.name == "sub" && rounded:
		return two(func(a, b float32) float32 { return a - b })
	case o.name == "mul" && rounded:
		return two(func(a, b float32) float32 { return a * b })
	case o.name == "div" && o.has("rn") && rounded:
		return two(func(a, b float32) float32 { return a / b })
	case o.name == "fma" && o.has("rn") && rounded:
		return func(x [4]uint64) uint64 { return bits32(kernel.FMA(f32(x[0]), f32(x[1]), f32(x[2]))) }, 3
	case o.name == "neg" && o.only():
		return func(x [4]uint64) uint64 { return x[0] ^ 1<<31 }, 1
	case o.name == "abs" && o.only():
		return func(x [4]uint64) uint64 { return x[0] &^ (1 << 31) }, 1
	case o.name == "min" && o.only("NaN"):
		return two(func(a, b float32) float32 {
			return extreme(a, b, o.has("NaN"), a < b || a == b && math.Signbit(float64(a)))
		})
	case o.name == "max" && o.only("NaN"):
		return two(func(a, b float32) float32 {
			return extreme(a, b, o.has("NaN"), a > b || a == b && math.Signbit(float64(b)))
		})
	case o.name == "sqrt" && o.has("rn") && rounded:
		return one(func(a float32) float32 { return float32(math.Sqrt(float64(a))) })
	case o.name == "rcp" && o.has("rn") && rounded:
		return one(func(a float32) float32 { return 1 / a })
	case o.name == "ex2" && o.only("approx"):
		return one(func(a float32) float32 { return float32(math.Exp2(float64(a))) })
	case o.name == "lg2" && o.only("approx"):
		return one(func(a float32) float32 { return float32(math.Log2(float64(a))) })
	case o.name == "rsqrt" && o.only("approx"):
		return one(func(a float32) float32 { return float32(1 / math.Sqrt(float64(a))) })
	case o.name == "tanh" && o.only("approx"):
		return one(func(a float32) float32 { return float32(math.Tanh(float64(a))) })
	case o.name == "copysign" && o.only():
		return two(func(a, b float32) float32 { return float32(math.Copysign(float64(b), float64(a))) })
	}
	return nil, 0
}

// extreme is the first of two numbers if it is the one that is wanted; a NaN is passed on,
// or gives way to a number.
func extreme(a, b float32, passNaN, first bool) float32 {
	switch {
	case a != a && b != b:
		return float32(math.NaN())
	case a != a:
		if passNaN {
			return float32(math.NaN())
		}
		return b
	case b != b:
		if passNaN {
			return float32(math.NaN())
		}
		return a
	case first:
		return a
	}
	return b
}
