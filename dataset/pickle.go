package dataset

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// A pickle is a program for a stack machine that can, in Python, call anything.
// This reader knows only what a batch of the python format consists of: one
// dictionary of byte or text strings, lists of small integers and of strings,
// and an array of bytes by numpy, as Python 2 wrote CIFAR-10 (protocol 2) and as
// Python 3 writes the same dictionary (protocols 2 to 5). It refuses any other
// opcode and any other name, and it takes no more memory than a small multiple
// of the file's length.

// Values on the stack: nil, bool, number, text, tuple, *list, *dict, global,
// *dtype and *array.
type (
	text   []byte // a byte string, or a text in UTF-8
	tuple  []any
	list   struct{ items []any }
	dict   struct{ items map[string]any }
	global string // module and name
	dtype  struct{ stated bool }
	number struct {
		value  int64
		offset int64 // of its opcode, for messages
	}
	array struct {
		rows, cols int64
		data       []byte // (rows, cols)
	}
)

// maxProtocol is the newest protocol that there is.
const maxProtocol = 5

// unpickler runs one pickle.
type unpickler struct {
	file string
	data []byte
	at   int // the next byte
	op   int // offset of the running opcode

	stack   []any
	marks   []int // heights of the stack at MARK
	memo    map[uint32]any
	encoded int // bytes made by _codecs.encode, at most as many as data has
}

// unpickle returns the one dictionary that data pickles.
func unpickle(file string, data []byte) (*dict, error) {
	u := &unpickler{file: file, data: data, memo: make(map[uint32]any)}
	for {
		done, err := u.step()
		if err != nil {
			return nil, err
		}
		if done {
			break
		}
	}
	if u.at != len(data) {
		return nil, corrupt(file, int64(u.at), "expected the end of the file after the pickle, found %d bytes more", len(data)-u.at)
	}
	d, ok := u.stack[0].(*dict)
	if !ok || len(u.stack) != 1 {
		return nil, u.wrong("expected one dictionary at the end of the pickle")
	}
	return d, nil
}

// wrong makes an error about the running opcode.
func (u *unpickler) wrong(format string, args ...any) error {
	return corrupt(u.file, int64(u.op), "opcode 0x%02x: %s", u.data[u.op], fmt.Sprintf(format, args...))
}

// step runs one opcode; done after STOP.
func (u *unpickler) step() (done bool, err error) {
	u.op = u.at
	if u.at >= len(u.data) {
		return false, corrupt(u.file, int64(u.at), "expected an opcode, found the end of the file")
	}
	op := u.data[u.at]
	u.at++
	switch op {
	case '.': // STOP
		if len(u.stack) == 0 || len(u.marks) != 0 {
			return false, u.wrong("expected one value on the stack at the end")
		}
		return true, nil
	case 0x80: // PROTO
		n, err := u.uint(1)
		if err == nil && (n < 2 || n > maxProtocol) {
			err = u.wrong("expected protocol 2 to %d, found %d", maxProtocol, n)
		}
		return false, err
	case 0x95: // FRAME: a hint about buffering
		_, err := u.uint(8)
		return false, err
	case 'N':
		u.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		u.push(op == 0x88)
	case 'K':
		return false, u.number(1)
	case 'M':
		return false, u.number(2)
	case 'J':
		return false, u.number(4)
	case 'U', 'C', 0x8c: // SHORT_BINSTRING, SHORT_BINBYTES, SHORT_BINUNICODE
		return false, u.string(1)
	case 'T', 'B', 'X': // BINSTRING, BINBYTES, BINUNICODE
		return false, u.string(4)
	case 0x8d, 0x8e, 0x96: // BINUNICODE8, BINBYTES8, BYTEARRAY8
		return false, u.string(8)
	case '(', ')', 't', 0x85, 0x86, 0x87, ']', 'a', 'e', '}', 's', 'u':
		return false, u.collect(op)
	case 'q', 'r', 'h', 'j', 0x94:
		return false, u.remember(op)
	case 'c', 0x93: // GLOBAL, STACK_GLOBAL
		return false, u.global(op)
	case 'R':
		return false, u.reduce()
	case 'b':
		return false, u.build()
	default:
		return false, u.wrong("not one that a batch of CIFAR-10 consists of")
	}
	return false, nil
}

func (u *unpickler) push(v any) { u.stack = append(u.stack, v) }

// floor is the height that values may not be taken below: the topmost mark.
func (u *unpickler) floor() int {
	if n := len(u.marks); n > 0 {
		return u.marks[n-1]
	}
	return 0
}

// pop takes n values off the stack, the topmost last.
func (u *unpickler) pop(n int) ([]any, error) {
	if have := len(u.stack) - u.floor(); have < n {
		return nil, u.wrong("expected %d values on the stack, found %d", n, have)
	}
	cut := len(u.stack) - n
	values := u.stack[cut:]
	u.stack = u.stack[:cut]
	return values, nil
}

// popMark takes the values above the topmost mark, and the mark.
func (u *unpickler) popMark() ([]any, error) {
	if len(u.marks) == 0 {
		return nil, u.wrong("expected a mark on the stack, found none")
	}
	cut := u.floor()
	values := u.stack[cut:]
	u.stack = u.stack[:cut]
	u.marks = u.marks[:len(u.marks)-1]
	return values, nil
}

// take returns the next n bytes of the file.
func (u *unpickler) take(n uint64) ([]byte, error) {
	if have := uint64(len(u.data) - u.at); n > have {
		return nil, u.wrong("expected %d bytes from offset %d on, found %d", n, u.at, have)
	}
	b := u.data[u.at : u.at+int(n)]
	u.at += int(n)
	return b, nil
}

// uint reads a little-endian number of size bytes.
func (u *unpickler) uint(size int) (uint64, error) {
	b, err := u.take(uint64(size))
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

// number pushes an integer of size bytes; those of four have a sign.
func (u *unpickler) number(size int) error {
	n, err := u.uint(size)
	v := int64(n)
	if size == 4 {
		v = int64(int32(n))
	}
	u.push(number{v, int64(u.op)})
	return err
}

// string pushes a string whose length is a number of size bytes.
func (u *unpickler) string(size int) error {
	n, err := u.uint(size)
	if err != nil {
		return err
	}
	if size == 8 && n > math.MaxInt32 {
		return u.wrong("expected a string of at most %d bytes, found one of %d", math.MaxInt32, n)
	}
	b, err := u.take(n)
	u.push(text(b))
	return err
}

// line reads up to the next newline, a name of a GLOBAL.
func (u *unpickler) line() (string, error) {
	const limit = 64
	rest := u.data[u.at:min(len(u.data), u.at+limit)]
	n := bytes.IndexByte(rest, '\n')
	if n < 0 {
		return "", u.wrong("expected a name of at most %d bytes and a newline from offset %d on", limit-1, u.at)
	}
	u.at += n + 1
	return string(rest[:n]), nil
}
