package ptx

import (
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/muster-train/muster/internal/kernel"
)

// arithmetic makes an instruction that has operands and one result, or two with setp.
func (c *compiler) arithmetic(o opcode, args []string) (func(*thread), error) {
	switch o.name {
	case "setp":
		return c.setp(o, args)
	case "cvt":
		return c.convert(o, args)
	case "cvta":
		return c.cvta(o, args)
	case "mov":
		if len(args) == 2 && (strings.HasPrefix(args[0], "{") || strings.HasPrefix(args[1], "{")) {
			return c.pack(o, args)
		}
	}
	f, inputs := c.function(o)
	if f == nil || len(args) != inputs+1 {
		return nil, c.errorf("%v with %d operands is not known", o, len(args))
	}
	to, err := c.register(args[0])
	if err != nil {
		return nil, err
	}
	var in [4]operand
	for i, text := range args[1:] {
		if in[i], err = c.value(text, o.operandType(i)); err != nil {
			return nil, err
		}
	}
	return func(t *thread) {
		var x [4]uint64
		for i := range inputs {
			x[i] = in[i](t)
		}
		t.r[to] = f(x)
	}, nil
}

// operandType is that of the operand that an instruction reads at a place.
func (o opcode) operandType(i int) string {
	switch {
	case o.name == "selp" && i == 2:
		return "pred"
	case (o.name == "shl" || o.name == "shr") && i == 1:
		return "u32"
	case o.name == "mad" && o.has("wide") && i == 2:
		return map[string]string{"u16": "u32", "s16": "s32", "u32": "u64", "s32": "s64"}[o.typ()]
	}
	return o.typ()
}

// function is what an instruction computes of so many operands; nil: it is not known.
func (c *compiler) function(o opcode) (f func(x [4]uint64) uint64, inputs int) {
	if typ := o.typ(); typ == "f32" {
		return floatFunction(o)
	} else if typ == "pred" {
		return logicFunction(o, 1)
	} else if typ == "f64" || typ == "" {
		return nil, 0
	}
	return integerFunction(o)
}

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

func selp(x [4]uint64) uint64 {
	if x[2] != 0 {
		return x[0]
	}
	return x[1]
}

// logicFunction is a function of bits, of all that a mask covers.
func logicFunction(o opcode, mask uint64) (func([4]uint64) uint64, int) {
	switch {
	case !o.only():
	case o.name == "mov":
		return func(x [4]uint64) uint64 { return x[0] & mask }, 1
	case o.name == "and":
		return func(x [4]uint64) uint64 { return x[0] & x[1] & mask }, 2
	case o.name == "or":
		return func(x [4]uint64) uint64 { return (x[0] | x[1]) & mask }, 2
	case o.name == "xor":
		return func(x [4]uint64) uint64 { return (x[0] ^ x[1]) & mask }, 2
	case o.name == "not":
		return func(x [4]uint64) uint64 { return ^x[0] & mask }, 1
	case o.name == "selp":
		return selp, 3
	}
	return nil, 0
}

func integerFunction(o opcode) (func([4]uint64) uint64, int) {
	n := bytesOf(o.typ())
	size, signed := uint64(8*n), strings.HasPrefix(o.typ(), "s")
	cut := func(x uint64) uint64 { return truncate(x, n) }
	// wide is a value as one of 64 bits.
	wide := func(x uint64) uint64 {
		if signed {
			return uint64(extend(x, n))
		}
		return cut(x)
	}
	less := func(a, b uint64) bool {
		if signed {
			return extend(a, n) < extend(b, n)
		}
		return cut(a) < cut(b)
	}
	low := o.only("lo")
	switch {
	case o.name == "add" && o.only():
		return func(x [4]uint64) uint64 { return cut(x[0] + x[1]) }, 2
	case o.name == "sub" && o.only():
		return func(x [4]uint64) uint64 { return cut(x[0] - x[1]) }, 2
	case o.name == "mul" && o.has("lo") && low:
		return func(x [4]uint64) uint64 { return cut(x[0] * x[1]) }, 2
	case o.name == "mad" && o.has("lo") && low:
		return func(x [4]uint64) uint64 { return cut(x[0]*x[1] + x[2]) }, 3
	case o.name == "mul" && o.only("wide") && o.has("wide"):
		return func(x [4]uint64) uint64 { return truncate(wide(x[0])*wide(x[1]), 2*n) }, 2
	case o.name == "mad" && o.only("wide") && o.has("wide"):
		return func(x [4]uint64) uint64 { return truncate(wide(x[0])*wide(x[1])+x[2], 2*n) }, 3
	case o.name == "mul" && o.only("hi") && o.has("hi"):
		return func(x [4]uint64) uint64 { return cut(high(x[0], x[1], n, signed)) }, 2
	case o.name == "div" && o.only():
		return func(x [4]uint64) uint64 { return cut(quotient(wide(x[0]), wide(x[1]), signed)) }, 2
	case o.name == "rem" && o.only():
		return func(x [4]uint64) uint64 {
			a, b := wide(x[0]), wide(x[1])
			if b == 0 {
				return cut(a)
			}
			return cut(a - quotient(a, b, signed)*b)
		}, 2
	case o.name == "min" && o.only():
		return func(x [4]uint64) uint64 {
			if less(x[0], x[1]) {
				return x[0]
			}
			return x[1]
		}, 2
	case o.name == "max" && o.only():
		return func(x [4]uint64) uint64 {
			if less(x[0], x[1]) {
				return x[1]
			}
			return x[0]
		}, 2
	case o.name == "neg" && o.only():
		return func(x [4]uint64) uint64 { return cut(-x[0]) }, 1
	case o.name == "abs" && o.only():
		return func(x [4]uint64) uint64 {
			if v := extend(x[0], n); v < 0 {
				return cut(uint64(-v))
			}
			return x[0]
		}, 1
	case o.name == "shl" && o.only():
		return func(x [4]uint64) uint64 { return cut(shift(x[0], truncate(x[1], 4), size, true, false, n)) }, 2
	case o.name == "shr" && o.only():
		return func(x [4]uint64) uint64 { return cut(shift(x[0], truncate(x[1], 4), size, false, signed, n)) }, 2
	case o.name == "shf" && (o.has("l") || o.has("r")) && o.has("wrap") && n == 4:
		left := o.has("l")
		return func(x [4]uint64) uint64 {
			both, by := cut(x[1])<<32|cut(x[0]), x[2]&31
			if left {
				return both << by >> 32
			}
			return cut(both >> by)
		}, 3
	case o.name == "bfe" && o.only() && !signed:
		return func(x [4]uint64) uint64 {
			at, count := x[1]&0xff, x[2]&0xff
			return shift(cut(x[0]), at, size, false, false, n) & (shift(1, count, 64, true, false, 8) - 1)
		}, 3
	case o.name == "popc" && o.only():
		return func(x [4]uint64) uint64 { return uint64(bits.OnesCount64(cut(x[0]))) }, 1
	case o.name == "clz" && o.only():
		return func(x [4]uint64) uint64 { return uint64(bits.LeadingZeros64(cut(x[0]))) - (64 - size) }, 1
	case o.name == "brev" && o.only():
		return func(x [4]uint64) uint64 { return bits.Reverse64(cut(x[0])) >> (64 - size) }, 1
	case o.name == "prmt" && o.only() && n == 4:
		return func(x [4]uint64) uint64 { return permute(cut(x[0]), cut(x[1]), x[2]) }, 3
	case o.name == "lop3" && o.only() && n == 4:
		return func(x [4]uint64) uint64 { return lookup(x[0], x[1], x[2], x[3]) & 0xffffffff }, 4
	}
	return logicFunction(o, truncate(math.MaxUint64, n))
}

// high is the upper half of a product.
func high(a, b uint64, n int, signed bool) uint64 {
	if n < 8 {
		if signed {
			return uint64(extend(a, n) * extend(b, n) >> (8 * n))
		}
		return truncate(a, n) * truncate(b, n) >> (8 * n)
	}
	hi, _ := bits.Mul64(a, b)
	if signed {
		if int64(a) < 0 {
			hi -= b
		}
		if int64(b) < 0 {
			hi -= a
		}
	}
	return hi
}

// quotient is that of two values of 64 bits; by zero it has all bits set, as on a GPU.
func quotient(a, b uint64, signed bool) uint64 {
	switch {
	case b == 0:
		return math.MaxUint64
	case signed && b == math.MaxUint64:
		return -a
	case signed:
		return uint64(int64(a) / int64(b))
	}
	return a / b
}

// shift shifts by as much as is asked for: by the size and more, nothing is left but signs.
func shift(x, by, size uint64, left, signed bool, n int) uint64 {
	switch {
	case signed:
		return uint64(extend(x, n) >> min(by, 63))
	case by >= size:
		return 0
	case left:
		return x << by
	}
	return truncate(x, n) >> by
}

// permute picks four bytes of eight.
func permute(a, b, selector uint64) (x uint64) {
	all := b<<32 | a
	for i := range 4 {
		s := selector >> (4 * i) & 0xf
		v := all >> (8 * (s & 7)) & 0xff
		if s&8 != 0 {
			v = 0xff * (v >> 7)
		}
		x |= v << (8 * i)
	}
	return x
}

// lookup is the function of three bits that a table of eight holds.
func lookup(a, b, c, table uint64) (x uint64) {
	for i := range uint64(8) {
		if table>>i&1 == 0 {
			continue
		}
		term := uint64(math.MaxUint64)
		for j, v := range []uint64{c, b, a} {
			if i>>j&1 == 0 {
				v = ^v
			}
			term &= v
		}
		x |= term
	}
	return x
}

// comparisons of setp, of integers and numbers.
var comparisons = []string{"eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"}

// setp compares, and may combine what comes of it with another predicate.
func (c *compiler) setp(o opcode, args []string) (func(*thread), error) {
	i := slices.IndexFunc(o.mods, func(m string) bool { return slices.Contains(comparisons, m) })
	if i != 0 || len(args) < 3 || len(o.mods) > 2 || (len(o.mods) == 2) != (len(args) == 4) {
		return nil, c.errorf("%v with %d operands is not known", o, len(args))
	}
	to, also, paired := strings.Cut(args[0], "|")
	r, err := c.register(to)
	if err != nil {
		return nil, err
	}
	not := -1
	if paired {
		if not, err = c.register(also); err != nil {
			return nil, err
		}
	}
	a, err := c.value(args[1], o.typ())
	if err != nil {
		return nil, err
	}
	b, err := c.value(args[2], o.typ())
	if err != nil {
		return nil, err
	}
	compare := integerComparison(o)
	if o.typ() == "f32" {
		compare = floatComparison(o.mods[0])
	}
	if compare == nil {
		return nil, c.errorf("%v is not known", o)
	}
	combine := func(x, _ bool) bool { return x }
	with := func(*thread) uint64 { return 0 }
	if len(o.mods) == 2 {
		combine = map[string]func(x, y bool) bool{
			"and": func(x, y bool) bool { return x && y }, "or": func(x, y bool) bool { return x || y }, "xor": func(x, y bool) bool { return x != y },
		}[o.mods[1]]
		name, negated := strings.CutPrefix(args[3], "!")
		p, err := c.value(name, "pred")
		if err != nil || combine == nil {
			return nil, c.errorf("%v %v is not known", o, args)
		}
		with = func(t *thread) uint64 {
			if negated {
				return p(t) ^ 1
			}
			return p(t)
		}
	}
	return func(t *thread) {
		x, y := compare(a(t), b(t)), with(t) != 0
		t.r[r] = truth(combine(x, y))
		if not >= 0 {
			t.r[not] = truth(combine(!x, y))
		}
	}, nil
}

func truth(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func integerComparison(o opcode) func(a, b uint64) bool {
	n := bytesOf(o.typ())
	order := func(a, b uint64) int {
		if strings.HasPrefix(o.typ(), "s") {
			return compareOrdered(extend(a, n), extend(b, n))
		}
		return compareOrdered(truncate(a, n), truncate(b, n))
	}
	switch o.mods[0] {
	case "eq":
		return func(a, b uint64) bool { return order(a, b) == 0 }
	case "ne":
		return func(a, b uint64) bool { return order(a, b) != 0 }
	case "lt", "lo":
		return func(a, b uint64) bool { return order(a, b) < 0 }
	case "le", "ls":
		return func(a, b uint64) bool { return order(a, b) <= 0 }
	case "gt", "hi":
		return func(a, b uint64) bool { return order(a, b) > 0 }
	case "ge", "hs":
		return func(a, b uint64) bool { return order(a, b) >= 0 }
	}
	return nil
}

func compareOrdered[T int64 | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// floatComparison is false where there is a NaN, but with a u for unordered.
func floatComparison(mod string) func(a, b uint64) bool {
	name, unordered := strings.CutSuffix(mod, "u")
	var is func(a, b float32) bool
	switch name {
	case "eq":
		is = func(a, b float32) bool { return a == b }
	case "ne":
		is = func(a, b float32) bool { return a < b || a > b }
	case "lt":
		is = func(a, b float32) bool { return a < b }
	case "le":
		is = func(a, b float32) bool { return a <= b }
	case "gt":
		is = func(a, b float32) bool { return a > b }
	case "ge":
		is = func(a, b float32) bool { return a >= b }
	case "nan":
		is, unordered = func(a, b float32) bool { return false }, true
	case "num":
		return func(a, b uint64) bool { return f32(a) == f32(a) && f32(b) == f32(b) }
	default:
		return nil
	}
	return func(a, b uint64) bool {
		x, y := f32(a), f32(b)
		if x != x || y != y {
			return unordered
		}
		return is(x, y)
	}
}

// cvta makes a generic address of one of a space, or the other way.
func (c *compiler) cvta(o opcode, args []string) (func(*thread), error) {
	if len(args) != 2 || !o.only("to", "global", "shared") || o.typ() != "u64" {
		return nil, c.errorf("%v is not known", o)
	}
	to, err := c.register(args[0])
	if err != nil {
		return nil, err
	}
	from, err := c.value(args[1], "u64")
	if err != nil {
		return nil, err
	}
	var by int64
	switch {
	case o.has("shared") && o.has("to"):
		by = -sharedWindow
	case o.has("shared"):
		by = sharedWindow
	}
	return func(t *thread) { t.r[to] = from(t) + uint64(by) }, nil
}

// pack is mov between a register and several that are parts of it.
func (c *compiler) pack(o opcode, args []string) (func(*thread), error) {
	n := bytesOf(o.typ())
	if strings.HasPrefix(args[0], "{") {
		to, err := c.vector(args[0])
		if err != nil {
			return nil, err
		}
		from, err := c.value(args[1], o.typ())
		if err != nil {
			return nil, err
		}
		part := n / len(to)
		return func(t *thread) {
			x := from(t)
			for i, r := range to {
				t.r[r] = truncate(x>>(8*part*i), part)
			}
		}, nil
	}
	to, err := c.register(args[0])
	if err != nil {
		return nil, err
	}
	from, err := c.values(args[1], o.typ())
	if err != nil {
		return nil, err
	}
	part := n / len(from)
	return func(t *thread) {
		var x uint64
		for i, f := range from {
			x |= truncate(f(t), part) << (8 * part * i)
		}
		t.r[to] = x
	}, nil
}
