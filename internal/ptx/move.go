package ptx

import "strings"

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
