package dataset

// collect runs the opcodes that make and fill tuples, lists and dictionaries.
func (u *unpickler) collect(op byte) error {
	switch op {
	case '(': // MARK
		u.marks = append(u.marks, len(u.stack))
	case ')': // EMPTY_TUPLE
		u.push(tuple(nil))
	case ']': // EMPTY_LIST
		u.push(new(list))
	case '}': // EMPTY_DICT
		u.push(&dict{make(map[string]any)})
	case 't': // TUPLE
		values, err := u.popMark()
		return u.tuple(values, err)
	case 0x85, 0x86, 0x87: // TUPLE1 to TUPLE3
		values, err := u.pop(int(op) - 0x84)
		return u.tuple(values, err)
	case 'a': // APPEND
		values, err := u.pop(1)
		return u.appendTo(values, err)
	case 'e': // APPENDS
		values, err := u.popMark()
		return u.appendTo(values, err)
	case 's': // SETITEM
		values, err := u.pop(2)
		return u.setIn(values, err)
	case 'u': // SETITEMS
		values, err := u.popMark()
		return u.setIn(values, err)
	}
	return nil
}

func (u *unpickler) tuple(values []any, err error) error {
	if err == nil {
		u.push(append(tuple(nil), values...))
	}
	return err
}

func (u *unpickler) appendTo(values []any, err error) error {
	if err != nil {
		return err
	}
	l, ok := u.top().(*list)
	if !ok {
		return u.wrong("expected a list on the stack")
	}
	l.items = append(l.items, values...)
	return nil
}

func (u *unpickler) setIn(values []any, err error) error {
	if err != nil {
		return err
	}
	d, ok := u.top().(*dict)
	if !ok {
		return u.wrong("expected a dictionary on the stack")
	}
	if len(values)%2 != 0 {
		return u.wrong("expected pairs of key and value, found %d values", len(values))
	}
	for i := 0; i < len(values); i += 2 {
		key, ok := values[i].(text)
		if !ok {
			return u.wrong("expected keys that are strings, found a %T", values[i])
		}
		d.items[string(key)] = values[i+1]
	}
	return nil
}

// top returns the topmost value, nil if there is none above the last mark.
func (u *unpickler) top() any {
	if len(u.stack) <= u.floor() {
		return nil
	}
	return u.stack[len(u.stack)-1]
}

// remember runs the opcodes of the memo.
func (u *unpickler) remember(op byte) error {
	size := 1
	if op == 'r' || op == 'j' {
		size = 4
	}
	n := uint64(len(u.memo))
	if op != 0x94 {
		var err error
		if n, err = u.uint(size); err != nil {
			return err
		}
	}
	if op == 'h' || op == 'j' { // BINGET, LONG_BINGET
		v, ok := u.memo[uint32(n)]
		if !ok {
			return u.wrong("expected a value remembered as %d, found none", n)
		}
		u.push(v)
		return nil
	}
	if len(u.stack) <= u.floor() { // BINPUT, LONG_BINPUT, MEMOIZE
		return u.wrong("expected a value on the stack to remember, found none")
	}
	u.memo[uint32(n)] = u.top()
	return nil
}
