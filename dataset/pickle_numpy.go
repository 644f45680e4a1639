package dataset

import "unicode/utf8"

// The names that a batch may refer to. Newer versions of numpy write the second
// form of its first and last.
const (
	reconstruct global = "numpy.core.multiarray _reconstruct"
	frombuffer  global = "numpy.core.numeric _frombuffer"
	ndarray     global = "numpy ndarray"
	dtypeName   global = "numpy dtype"
	encode      global = "_codecs encode"
)

var globals = map[string]global{
	"numpy.core.multiarray _reconstruct":  reconstruct,
	"numpy._core.multiarray _reconstruct": reconstruct,
	"numpy.core.numeric _frombuffer":      frombuffer,
	"numpy._core.numeric _frombuffer":     frombuffer,
	"numpy ndarray":                       ndarray,
	"numpy dtype":                         dtypeName,
	"_codecs encode":                      encode,
}

// global pushes a name.
func (u *unpickler) global(op byte) error {
	var module, name string
	if op == 'c' {
		var err error
		if module, err = u.line(); err != nil {
			return err
		}
		if name, err = u.line(); err != nil {
			return err
		}
	} else {
		values, err := u.pop(2)
		if err != nil {
			return err
		}
		m, okM := values[0].(text)
		n, okN := values[1].(text)
		if !okM || !okN {
			return u.wrong("expected two strings, module and name, on the stack")
		}
		module, name = string(m), string(n)
	}
	g, ok := globals[module+" "+name]
	if !ok {
		return u.wrong("refers to %.40q of %.40q, which a batch of CIFAR-10 does not", name, module)
	}
	u.push(g)
	return nil
}

// reduce pushes what a known function makes of its arguments.
func (u *unpickler) reduce() error {
	values, err := u.pop(2)
	if err != nil {
		return err
	}
	name, okName := values[0].(global)
	args, okArgs := values[1].(tuple)
	if !okName || !okArgs {
		return u.wrong("expected a name and a tuple of arguments on the stack")
	}
	var made any
	switch name {
	case reconstruct: // (ndarray, (0,), b'b'): an array that BUILD will fill
		if len(args) == 3 && args[0] == any(ndarray) {
			made = new(array)
		}
	case dtypeName: // ('u1', align, copy)
		if len(args) == 3 && isText(args[0], "u1") {
			made = new(dtype)
		}
	case frombuffer: // (bytes, dtype, shape, 'C')
		if len(args) == 4 && isText(args[3], "C") {
			made = newArray(args[2], args[1], args[0])
		}
	case encode: // (text, 'latin1'): how protocol 2 writes bytes in Python 3
		if len(args) == 2 && isText(args[1], "latin1") {
			made = u.latin1(args[0])
		}
	}
	switch made := made.(type) {
	case nil:
		return u.wrong("expected the arguments of %q as a batch of bytes has them", string(name))
	case *array:
		if made == nil {
			return u.wrong("expected an array of bytes of as many bytes as its shape says")
		}
	}
	u.push(made)
	return nil
}

// isText tells whether v is the string want.
func isText(v any, want string) bool {
	t, ok := v.(text)
	return ok && string(t) == want
}

// latin1 returns the bytes that a text in UTF-8 stands for, nil if it does not
// or if more was asked for than the file can mean.
func (u *unpickler) latin1(v any) any {
	t, ok := v.(text)
	if !ok || len(t) > len(u.data)-u.encoded {
		return nil
	}
	u.encoded += len(t)
	out := make(text, 0, len(t))
	for len(t) > 0 {
		r, size := utf8.DecodeRune(t)
		if r > 0xff || r == utf8.RuneError {
			return nil
		}
		out = append(out, byte(r))
		t = t[size:]
	}
	return out
}

// build gives the value on the stack its state.
func (u *unpickler) build() error {
	values, err := u.pop(1)
	if err != nil {
		return err
	}
	state, ok := values[0].(tuple)
	if !ok {
		return u.wrong("expected a tuple as state on the stack")
	}
	switch v := u.top().(type) {
	case *dtype: // (3, '|', None, None, None, -1, -1, 0)
		if len(state) != 8 || !isText(state[1], "|") {
			return u.wrong("expected the state of the type of a byte")
		}
		v.stated = true
	case *array: // (1, shape, dtype, whether by columns, bytes)
		if len(state) != 5 || state[3] != any(false) && !isZero(state[3]) {
			return u.wrong("expected the state of an array by rows")
		}
		filled := newArray(state[1], state[2], state[4])
		if filled == nil {
			return u.wrong("expected an array of bytes of as many bytes as its shape says")
		}
		*v = *filled
	default:
		return u.wrong("expected an array or a type of array on the stack")
	}
	return nil
}

func isZero(v any) bool {
	n, ok := v.(number)
	return ok && n.value == 0
}

// newArray returns an array of two dimensions over data, nil if its parts don't
// agree.
func newArray(shape, kind, data any) *array {
	dims, ok := shape.(tuple)
	if d, isType := kind.(*dtype); !ok || len(dims) != 2 || !isType || !d.stated {
		return nil
	}
	rows, okRows := dims[0].(number)
	cols, okCols := dims[1].(number)
	bytes, okData := data.(text)
	if !okRows || !okCols || !okData || rows.value < 0 || cols.value < 1 ||
		rows.value > int64(len(bytes)) || cols.value > int64(len(bytes)) || rows.value*cols.value != int64(len(bytes)) {
		return nil
	}
	return &array{rows.value, cols.value, bytes}
}
