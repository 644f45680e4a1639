package ptx

import "strings"

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
