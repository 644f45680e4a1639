package ptx

import (
	"cmp"
	"slices"
	"strings"
)

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
			return cmp.Compare(extend(a, n), extend(b, n))
		}
		return cmp.Compare(truncate(a, n), truncate(b, n))
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
