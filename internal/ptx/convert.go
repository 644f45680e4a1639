package ptx

import (
	"math"
	"slices"
	"strings"
)

// convert is cvt, between integers, float32s, and what tensor cores take.
func (c *compiler) convert(o opcode, args []string) (func(*thread), error) {
	if len(o.types) == 2 && len(args) == 3 && o.types[0] == "bf16x2" && o.types[1] == "f32" && o.only("rn") {
		return c.convertPair(args)
	}
	if len(o.types) != 2 || len(args) != 2 {
		return nil, c.errorf("%v with %d operands is not known", o, len(args))
	}
	to, err := c.register(args[0])
	if err != nil {
		return nil, err
	}
	from, err := c.value(args[1], o.types[1])
	if err != nil {
		return nil, err
	}
	f := conversion(o.types[0], o.types[1], o.mods)
	if f == nil {
		return nil, c.errorf("%v is not known", o)
	}
	return func(t *thread) { t.r[to] = f(from(t)) }, nil
}

// convertPair makes two bfloat16s of two numbers, the first of which goes to the upper half.
func (c *compiler) convertPair(args []string) (func(*thread), error) {
	to, err := c.register(args[0])
	if err != nil {
		return nil, err
	}
	upper, err := c.value(args[1], "f32")
	if err != nil {
		return nil, err
	}
	lower, err := c.value(args[2], "f32")
	if err != nil {
		return nil, err
	}
	return func(t *thread) { t.r[to] = bfloat16(f32(upper(t)))<<16 | bfloat16(f32(lower(t))) }, nil
}

// bfloat16 rounds to nearest, ties to even; a NaN is 0x7FFF, as on a GPU.
func bfloat16(x float32) uint64 {
	if x != x {
		return 0x7fff
	}
	b := math.Float32bits(x)
	return uint64((uint64(b) + 0x7fff + uint64(b>>16&1)) >> 16)
}

// tf32 rounds to nearest, ties away from zero, to ten bits of mantissa.
func tf32(x float32) uint64 {
	if x != x {
		return 0x7fffffff
	}
	b := math.Float32bits(x)
	if b&0x7f800000 == 0x7f800000 {
		return uint64(b)
	}
	return uint64((b + 0x1000) &^ 0x1fff)
}

func conversion(to, from string, mods []string) func(x uint64) uint64 {
	n, m := bytesOf(to), bytesOf(from)
	isInteger := func(t string) bool { return strings.ContainsAny(t[:1], "usb") && !strings.HasPrefix(t, "bf") }
	switch {
	case to == "tf32" && from == "f32" && slices.Equal(mods, []string{"rna"}):
		return func(x uint64) uint64 { return tf32(f32(x)) }
	case to == "bf16" && from == "f32" && slices.Equal(mods, []string{"rn"}):
		return func(x uint64) uint64 { return bfloat16(f32(x)) }
	case to == "f32" && from == "f32":
		round := rounding(mods)
		if round == nil {
			return nil
		}
		return func(x uint64) uint64 { return bits32(float32(round(float64(f32(x))))) }
	case isInteger(to) && from == "f32":
		round := rounding(mods)
		if round == nil {
			return nil
		}
		return func(x uint64) uint64 { return truncate(saturate(round(float64(f32(x))), to), n) }
	case to == "f32" && isInteger(from) && slices.Equal(mods, []string{"rn"}):
		if strings.HasPrefix(from, "s") {
			return func(x uint64) uint64 { return bits32(float32(extend(x, m))) }
		}
		return func(x uint64) uint64 { return bits32(float32(truncate(x, m))) }
	case isInteger(to) && isInteger(from) && len(mods) == 0:
		if strings.HasPrefix(from, "s") {
			return func(x uint64) uint64 { return truncate(uint64(extend(x, m)), n) }
		}
		return func(x uint64) uint64 { return truncate(truncate(x, m), n) }
	}
	return nil
}

// rounding is to an integer: rni, rzi, rmi, rpi.
func rounding(mods []string) func(float64) float64 {
	if len(mods) != 1 {
		return nil
	}
	return map[string]func(float64) float64{"rni": math.RoundToEven, "rzi": math.Trunc, "rmi": math.Floor, "rpi": math.Ceil}[mods[0]]
}

// saturate is the integer of a type that is nearest; 0 of a NaN.
func saturate(x float64, to string) uint64 {
	bits := 8 * bytesOf(to)
	if x != x {
		return 0
	}
	if strings.HasPrefix(to, "s") {
		limit := math.Ldexp(1, bits-1)
		switch {
		case x >= limit:
			return 1<<(bits-1) - 1
		case x < -limit:
			return 1 << (bits - 1)
		}
		return uint64(int64(x))
	}
	switch {
	case x <= 0:
		return 0
	case x >= math.Ldexp(1, bits):
		return truncate(math.MaxUint64, bits/8)
	}
	return uint64(x)
}
