package ptx

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// instruction is one of a kernel, ready to run.
type instruction struct {
	line  int
	text  string
	guard int // register of the predicate, plus one; 0: none
	not   bool
	do    func(t *thread)     // of a thread
	warp  func(w []*thread)   // of a whole warp, in its place
	park  bool                // a barrier: do is nil, and all threads of the block wait here
	flow  func(t *thread) int // where to go on; nil: at the next one
}

// operand reads a register or a constant.
type operand func(t *thread) uint64

// compiler turns statements into instructions.
type compiler struct {
	module  *Module
	kernel  *Kernel
	names   map[string]int    // registers
	labels  map[string]int    // index of the instruction behind it
	symbols map[string]uint64 // addresses in shared memory
	line    int
}

func (c *compiler) errorf(format string, args ...any) error {
	return fmt.Errorf("ptx: %s, line %d: %s", c.kernel.Name, c.line, fmt.Sprintf(format, args...))
}

// compile makes the code of a kernel.
func (m *Module) compile(k *Kernel, body []statement) error {
	c := &compiler{module: m, kernel: k, names: map[string]int{}, labels: map[string]int{}, symbols: map[string]uint64{}}
	var local []variable
	var code []statement
	for _, st := range body {
		c.line = st.line
		switch {
		case st.label != "":
			c.labels[st.label] = len(code)
		case st.op == ".reg":
			if err := c.declare(st.args); err != nil {
				return err
			}
		case st.op == ".shared":
			v, err := parseVariable(strings.Fields(".shared " + strings.Join(st.args, ",")))
			if err != nil {
				return c.errorf("%v", err)
			}
			local = append(local, v)
		case st.op == ".pragma":
		case strings.HasPrefix(st.op, "."):
			return c.errorf("%s is not known: a kernel has no memory of a thread's own", st.op)
		default:
			code = append(code, st)
		}
	}
	c.place(append(append([]variable(nil), m.shared...), local...), code)
	for _, st := range code {
		c.line = st.line
		in, err := c.instruction(st)
		if err != nil {
			return err
		}
		in.line, in.text = st.line, strings.TrimSpace(st.op+" "+strings.Join(st.args, ", "))
		if name, not := strings.CutPrefix(st.guard, "!"); name != "" {
			r, ok := c.names[name]
			if !ok {
				return c.errorf("register %s is not declared", name)
			}
			in.guard, in.not = r+1, not
		}
		k.code = append(k.code, in)
	}
	k.registers = len(c.names)
	return nil
}

// place gives an address to each variable of shared memory that the code names.
func (c *compiler) place(variables []variable, code []statement) {
	used := map[string]bool{}
	for _, st := range code {
		for _, arg := range st.args {
			for _, word := range strings.FieldsFunc(arg, func(r rune) bool { return strings.ContainsRune("[]{}+, ", r) }) {
				used[word] = true
			}
		}
	}
	at := 0
	align := func(to int) { at = (at + to - 1) / to * to }
	var open []string // of the size that a launch gives
	for _, v := range variables {
		if !used[v.name] {
			continue
		}
		if v.bytes == 0 {
			open = append(open, v.name)
			continue
		}
		align(v.align)
		c.symbols[v.name] = uint64(at)
		at += v.bytes
	}
	c.kernel.shared = at
	align(16)
	for _, name := range open {
		c.symbols[name] = uint64(at)
	}
	c.kernel.dynamic = at
}

// declare takes .reg .b32 %r<5> in.
func (c *compiler) declare(args []string) error {
	for i, arg := range args {
		name := arg
		if i == 0 {
			words := strings.Fields(arg)
			if len(words) != 2 {
				return c.errorf("registers %q are not known", arg)
			}
			name = words[1]
		}
		base, count, many := strings.Cut(name, "<")
		if !many {
			c.names[name] = len(c.names)
			continue
		}
		n, err := strconv.Atoi(strings.TrimSuffix(count, ">"))
		if err != nil {
			return c.errorf("registers %q: %v", arg, err)
		}
		for i := range n {
			c.names[base+strconv.Itoa(i)] = len(c.names)
		}
	}
	return nil
}

// register is the index of a register that is written; _ is one that nobody reads.
func (c *compiler) register(name string) (int, error) {
	if r, ok := c.names[name]; ok {
		return r, nil
	}
	if name == "_" {
		c.names[name] = len(c.names)
		return c.names[name], nil
	}
	return 0, c.errorf("register %s is not declared", name)
}

// special are the registers that tell a thread who it is.
var special = map[string]func(t *thread) int{
	"%tid.x": func(t *thread) int { return t.id[0] }, "%tid.y": func(t *thread) int { return t.id[1] }, "%tid.z": func(t *thread) int { return t.id[2] },
	"%ntid.x": func(t *thread) int { return t.block.size[0] }, "%ntid.y": func(t *thread) int { return t.block.size[1] }, "%ntid.z": func(t *thread) int { return t.block.size[2] },
	"%ctaid.x": func(t *thread) int { return t.block.id[0] }, "%ctaid.y": func(t *thread) int { return t.block.id[1] }, "%ctaid.z": func(t *thread) int { return t.block.id[2] },
	"%nctaid.x": func(t *thread) int { return t.block.grid[0] }, "%nctaid.y": func(t *thread) int { return t.block.grid[1] }, "%nctaid.z": func(t *thread) int { return t.block.grid[2] },
	"%laneid": func(t *thread) int { return t.number % warpSize },
}

// value is an operand that is read: a register, a constant of a type, an address.
func (c *compiler) value(text, kind string) (operand, error) {
	if r, ok := c.names[text]; ok {
		return func(t *thread) uint64 { return t.r[r] }, nil
	}
	if f, ok := special[text]; ok {
		return func(t *thread) uint64 { return uint64(uint32(f(t))) }, nil
	}
	if at, ok := c.symbols[text]; ok {
		return func(*thread) uint64 { return at }, nil
	}
	x, err := constant(text, kind)
	if err != nil {
		return nil, c.errorf("operand %q is neither a register nor a constant of .%s", text, kind)
	}
	return func(*thread) uint64 { return x }, nil
}

// constant is the bits of 0f3F800000, 0d3FF0000000000000, 12, -3 or 0x1F.
func constant(text, kind string) (uint64, error) {
	switch {
	case strings.HasPrefix(text, "0f") || strings.HasPrefix(text, "0F"):
		return strconv.ParseUint(text[2:], 16, 32)
	case strings.HasPrefix(text, "0d") || strings.HasPrefix(text, "0D"):
		return strconv.ParseUint(text[2:], 16, 64)
	case kind == "f32":
		f, err := strconv.ParseFloat(text, 32)
		return uint64(math.Float32bits(float32(f))), err
	case kind == "pred":
		b, err := strconv.ParseUint(text, 0, 1)
		return b, err
	}
	if n, err := strconv.ParseInt(text, 0, 64); err == nil {
		return truncate(uint64(n), bytesOf(kind)), nil
	}
	n, err := strconv.ParseUint(text, 0, 64)
	return truncate(n, bytesOf(kind)), err
}

// truncate keeps the low bytes of a value.
func truncate(x uint64, bytes int) uint64 {
	switch bytes {
	case 1:
		return x & 0xff
	case 2:
		return x & 0xffff
	case 4:
		return x & 0xffffffff
	}
	return x
}

// extend is a signed value of some bytes as one of 64 bits.
func extend(x uint64, bytes int) int64 {
	switch bytes {
	case 1:
		return int64(int8(x))
	case 2:
		return int64(int16(x))
	case 4:
		return int64(int32(x))
	}
	return int64(x)
}

// vector is the registers of {%f1, %f2}, or of one alone.
func (c *compiler) vector(text string) (all []int, err error) {
	inner, ok := strings.CutPrefix(text, "{")
	if !ok {
		r, err := c.register(text)
		return []int{r}, err
	}
	for _, name := range split(strings.TrimSuffix(inner, "}")) {
		r, err := c.register(name)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// values are the operands of {%f1, 0f00000000}, or of one alone.
func (c *compiler) values(text, kind string) (all []operand, err error) {
	inner, ok := strings.CutPrefix(text, "{")
	if !ok {
		v, err := c.value(text, kind)
		return []operand{v}, err
	}
	for _, name := range split(strings.TrimSuffix(inner, "}")) {
		v, err := c.value(name, kind)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// address is the operand of [%rd1+4] or [name].
func (c *compiler) address(text string) (operand, error) {
	inner, ok := strings.CutPrefix(strings.TrimSuffix(text, "]"), "[")
	if !ok {
		return nil, c.errorf("%q is no address", text)
	}
	base, plus, _ := strings.Cut(inner, "+")
	offset := int64(0)
	if plus != "" {
		var err error
		if offset, err = strconv.ParseInt(strings.TrimSpace(plus), 0, 64); err != nil {
			return nil, c.errorf("%q is no address", text)
		}
	}
	v, err := c.value(strings.TrimSpace(base), "u64")
	if err != nil {
		return nil, err
	}
	return func(t *thread) uint64 { return v(t) + uint64(offset) }, nil
}
