package ptx

import (
	"math"
	"math/bits"
	"strings"
)

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
