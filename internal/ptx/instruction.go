package ptx

import (
	"slices"
	"strings"
)

// opcode is an instruction's name, taken apart: add.rn.f32 is add, [rn], f32.
type opcode struct {
	name  string
	mods  []string
	types []string // from left to right
}

func newOpcode(text string) opcode {
	parts := strings.Split(text, ".")
	o := opcode{name: parts[0]}
	for _, p := range parts[1:] {
		if bytesOf(p) > 0 || p == "pred" || p == "tf32" {
			o.types = append(o.types, p)
		} else {
			o.mods = append(o.mods, p)
		}
	}
	return o
}

func (o opcode) has(mod string) bool { return slices.Contains(o.mods, mod) }

// only tells whether the opcode has no modifiers but some.
func (o opcode) only(mods ...string) bool {
	return !slices.ContainsFunc(o.mods, func(m string) bool { return !slices.Contains(mods, m) })
}

// typ is the last type; empty: there is none.
func (o opcode) typ() string {
	if len(o.types) == 0 {
		return ""
	}
	return o.types[len(o.types)-1]
}

// instruction makes a statement ready to run.
func (c *compiler) instruction(st statement) (in instruction, err error) {
	o := newOpcode(st.op)
	switch o.name {
	case "ret", "exit":
		return instruction{do: func(t *thread) { t.done = true }}, nil
	case "bra":
		return c.branch(o, st.args)
	case "bar", "barrier":
		if !o.only("sync", "cta") || len(st.args) != 1 || st.args[0] != "0" {
			return in, c.errorf("%s %v: bar.sync 0 alone is known", st.op, st.args)
		}
		return instruction{park: true}, nil
	case "ld", "ldu":
		return c.load(o, st.args)
	case "st":
		return c.store(o, st.args)
	case "cp":
		return c.copyAsync(o, st.args)
	case "mma":
		return c.mma(o, st.args)
	case "shfl":
		return c.shuffle(o, st.args)
	}
	do, err := c.arithmetic(o, st.args)
	return instruction{do: do}, err
}

func (c *compiler) branch(o opcode, args []string) (in instruction, err error) {
	if len(args) != 1 || !o.only("uni") {
		return in, c.errorf("bra %v is not known", args)
	}
	to, ok := c.labels[args[0]]
	if !ok {
		return in, c.errorf("label %s is not there", args[0])
	}
	return instruction{flow: func(*thread) int { return to }}, nil
}

// space is where an access goes.
func (o opcode) space() string {
	for _, s := range []string{"global", "shared", "param", "const", "local"} {
		if o.has(s) {
			return s
		}
	}
	return "generic"
}

// lanes is how many values an access has.
func (o opcode) lanes() int {
	switch {
	case o.has("v2"):
		return 2
	case o.has("v4"):
		return 4
	}
	return 1
}

func (c *compiler) load(o opcode, args []string) (in instruction, err error) {
	width, space := bytesOf(o.typ()), o.space()
	if len(args) != 2 || width == 0 || !o.only("global", "shared", "param", "v2", "v4", "nc", "volatile", "L1::no_allocate") {
		return in, c.errorf("%v is not known", o)
	}
	to, err := c.vector(args[0])
	if err != nil {
		return in, err
	}
	if len(to) != o.lanes() {
		return in, c.errorf("%d registers for %d values", len(to), o.lanes())
	}
	signed := strings.HasPrefix(o.typ(), "s")
	take := func(t *thread, b []byte) {
		for i, r := range to {
			x := uint64(0)
			for j := range width {
				x |= uint64(b[i*width+j]) << (8 * j)
			}
			if signed {
				x = uint64(extend(x, width))
			}
			t.r[r] = x
		}
	}
	if space == "param" {
		return c.loadParam(args[1], width*len(to), take)
	}
	at, err := c.address(args[1])
	if err != nil {
		return in, err
	}
	return instruction{do: func(t *thread) {
		if b := t.access(space, at(t), width*len(to), false); b != nil {
			take(t, b)
		}
	}}, nil
}

func (c *compiler) loadParam(text string, bytes int, take func(*thread, []byte)) (in instruction, err error) {
	name := strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	i := slices.IndexFunc(c.kernel.Params, func(p Param) bool { return p.Name == name })
	if i < 0 {
		return in, c.errorf("parameter %s is not there", text)
	}
	p := c.kernel.Params[i]
	if bytes != p.Bytes {
		return in, c.errorf("parameter %s has %d bytes, %d are read", name, p.Bytes, bytes)
	}
	return instruction{do: func(t *thread) { take(t, t.block.params[p.at:p.at+bytes]) }}, nil
}

func (c *compiler) store(o opcode, args []string) (in instruction, err error) {
	width, space := bytesOf(o.typ()), o.space()
	if len(args) != 2 || width == 0 || !o.only("global", "shared", "v2", "v4", "volatile") {
		return in, c.errorf("%v is not known", o)
	}
	at, err := c.address(args[0])
	if err != nil {
		return in, err
	}
	from, err := c.values(args[1], o.typ())
	if err != nil {
		return in, err
	}
	if len(from) != o.lanes() {
		return in, c.errorf("%d registers for %d values", len(from), o.lanes())
	}
	return instruction{do: func(t *thread) {
		b := t.access(space, at(t), width*len(from), true)
		if b == nil {
			return
		}
		for i, f := range from {
			x := f(t)
			for j := range width {
				b[i*width+j] = byte(x >> (8 * j))
			}
		}
	}}, nil
}

// sharedWindow is where shared memory begins among generic addresses.
const sharedWindow = 1 << 24

// access is bytes of memory that a thread may read or write; nil after a fault.
func (t *thread) access(space string, address uint64, bytes int, writes bool) []byte {
	if address%uint64(bytes) != 0 {
		t.fault = "the address is not aligned to the access"
		return nil
	}
	if space == "generic" && address >= sharedWindow && address < sharedWindow+mostShared {
		space, address = "shared", address-sharedWindow
	}
	var a *area
	at := int(address)
	if space == "shared" {
		if a = &t.block.shared; address+uint64(bytes) > uint64(len(a.data)) {
			t.fault = "the address is outside of shared memory"
			return nil
		}
	} else if a, at = t.block.memory.find(address, bytes); a == nil {
		t.fault = "the address is outside of what was allocated"
		return nil
	}
	if writes {
		t.fault = a.write(at, bytes, t.by())
	} else {
		t.fault = a.read(at, bytes, t.by())
	}
	if t.fault != "" {
		return nil
	}
	return a.data[at : at+bytes]
}

// asyncCopy is a copy to shared memory that has not been waited for.
type asyncCopy struct {
	from, to uint64
	bytes    int
	zeros    int // bytes at the end that are zero instead
	group    bool
}

// copyAsync is cp.async, whose copies happen as late as they may: when they are waited for.
func (c *compiler) copyAsync(o opcode, args []string) (in instruction, err error) {
	switch {
	case o.has("commit_group") && len(args) == 0:
		return instruction{do: func(t *thread) { t.copies = append(t.copies, asyncCopy{group: true}) }}, nil
	case o.has("wait_all") && len(args) == 0:
		return instruction{do: func(t *thread) {
			t.copies = append(t.copies, asyncCopy{group: true})
			t.await(0)
		}}, nil
	case o.has("wait_group") && len(args) == 1:
		n, err := constant(args[0], "u32")
		return instruction{do: func(t *thread) { t.await(int(n)) }}, err
	case o.has("async") && o.has("shared") && o.has("global") && (len(args) == 3 || len(args) == 4):
		to, err := c.address(args[0])
		if err != nil {
			return in, err
		}
		from, err := c.address(args[1])
		if err != nil {
			return in, err
		}
		bytes, err := constant(args[2], "u32")
		if err != nil || bytes != 4 && bytes != 8 && bytes != 16 || o.has("cg") && bytes != 16 {
			return in, c.errorf("%v of %s bytes", o, args[2])
		}
		taken := func(*thread) uint64 { return bytes }
		if len(args) == 4 {
			if taken, err = c.value(args[3], "u32"); err != nil {
				return in, err
			}
		}
		return instruction{do: func(t *thread) {
			n := min(bytes, truncate(taken(t), 4))
			t.copies = append(t.copies, asyncCopy{from: from(t), to: to(t), bytes: int(bytes), zeros: int(bytes - n)})
		}}, nil
	}
	return in, c.errorf("%v is not known", o)
}

// await makes all copies but those of the last n groups.
func (t *thread) await(n int) {
	last := len(t.copies)
	for i := len(t.copies) - 1; i >= 0 && n >= 0; i-- {
		if t.copies[i].group {
			last = i
			n--
		}
	}
	if n >= 0 { // fewer groups than may be left
		return
	}
	for _, c := range t.copies[:last] {
		if c.group {
			continue
		}
		to := t.access("shared", c.to, c.bytes, true)
		if to == nil {
			return
		}
		clear(to)
		if c.bytes == c.zeros {
			continue
		}
		from := t.access("global", c.from, c.bytes-c.zeros, false)
		if from == nil {
			return
		}
		copy(to, from)
	}
	t.copies = slices.Clone(t.copies[last:])
}
