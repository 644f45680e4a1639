package dataset

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Pickles that would do harm in Python, or that no batch contains.
func TestPickleRefusesEverythingElse(t *testing.T) {
	const head = "\x80\x02"
	for _, tc := range []struct {
		name, pickle, want string
	}{
		{"a call of the shell", head + "cos\nsystem\n(U\x02lstR.", `offset 2: opcode 0x63: refers to "system" of "os"`},
		{"a call by stack", "\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.", `offset 17: opcode 0x93: refers to "system" of "posix"`},
		{"eval", head + "c__builtin__\neval\nU\x011\x85R.", `refers to "eval"`},
		{"an instance of a class", head + "(ios\nsystem\n.", "offset 3: opcode 0x69: not one that"},
		{"NEWOBJ", head + "cnumpy\nndarray\n)\x81.", "opcode 0x81: not one that"},
		{"a persistent id", head + "Px\n.", "opcode 0x50: not one that"},
		{"an extension", head + "\x82\x01.", "opcode 0x82: not one that"},
		{"a text number", head + "I1\n.", "opcode 0x49: not one that"},
		{"a long number", head + "\x8a\x01\x01.", "opcode 0x8a: not one that"},
		{"a float", head + "G\x00\x00\x00\x00\x00\x00\x00\x00.", "opcode 0x47: not one that"},
		{"a set", "\x80\x04\x8f.", "opcode 0x8f: not one that"},
		{"protocol 1", "\x80\x01}.", "offset 0: opcode 0x80: expected protocol 2 to 5, found 1"},
		{"protocol 6", "\x80\x06}.", "expected protocol 2 to 5, found 6"},
		{"no dictionary", head + "].", "expected one dictionary at the end"},
		{"two values", head + "}}.", "expected one dictionary at the end"},
		{"nothing", head + ".", "expected one value on the stack at the end"},
		{"a mark left over", head + "}(.", "expected one value on the stack at the end"},
		{"a key that is a number", head + "}K\x01K\x02s.", "expected keys that are strings"},
		{"a key without a value", head + "}(U\x01au.", "expected pairs of key and value, found 1 values"},
		{"items into a list", head + "]U\x01aK\x01s.", "expected a dictionary on the stack"},
		{"appending to a dictionary", head + "}K\x01a.", "expected a list on the stack"},
		{"values from below a mark", head + "}(K\x01s.", "expected 2 values on the stack, found 1"},
		{"a tuple of too few", head + "K\x01\x87.", "expected 3 values on the stack, found 1"},
		{"a tuple without a mark", head + "K\x01t.", "expected a mark on the stack, found none"},
		{"a memory never made", head + "h\x05.", "expected a value remembered as 5, found none"},
		{"nothing to remember", head + "q\x05.", "expected a value on the stack to remember, found none"},
		{"a string beyond the end", head + "U\x09abc", "expected 9 bytes from offset 4 on, found 3"},
		{"a huge string", head + "T\xff\xff\xff\x7fabc", "expected 2147483647 bytes from offset 7 on, found 3"},
		{"a string longer than memory", "\x80\x05\x8e\xff\xff\xff\xff\xff\xff\xff\xffabc", "expected a string of at most 2147483647 bytes"},
		{"a name without an end", head + "c" + strings.Repeat("n", 100), "expected a name of at most 63 bytes and a newline from offset 3 on"},
		{"calling a string", head + "U\x01x)R.", "expected a name and a tuple of arguments"},
		{"names of numbers", head + "K\x01K\x02\x93.", "expected two strings, module and name"},
		{"state for a list", head + "])b.", "expected an array or a type of array"},
		{"state that is no tuple", head + "]]b.", "expected a tuple as state"},
		{"an array of another class", head + "cnumpy.core.multiarray\n_reconstruct\n(U\x01xK\x00U\x01btR.", `arguments of "numpy.core.multiarray _reconstruct"`},
		{"an array of floats", head + "cnumpy\ndtype\n(U\x02f4K\x00K\x01tR.", `arguments of "numpy dtype"`},
		{"another encoding", head + "c_codecs\nencode\nU\x01xU\x05rot13\x86R.", `arguments of "_codecs encode"`},
		{"a character that is no byte", head + "c_codecs\nencode\nX\x02\x00\x00\x00\xc4\x80U\x06latin1\x86R.", `arguments of "_codecs encode"`},
		{"bytes that are no text", head + "c_codecs\nencode\nX\x01\x00\x00\x00\xffU\x06latin1\x86R.", `arguments of "_codecs encode"`},
		{"a type used before its state", head + "cnumpy.core.numeric\n_frombuffer\n(U\x01xcnumpy\ndtype\nU\x02u1K\x00K\x01\x87RK\x01K\x01\x86U\x01CtR.", "expected an array of bytes"},
		{"an array by columns", head + "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00U\x01btR(K\x01)N\x88U\x00tb.", "expected the state of an array by rows"},
		{"a type of two bytes", head + "cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01<NNNK\x00K\x00K\x00tb.", "expected the state of the type of a byte"},
	} {
		_, err := unpickle("f", []byte(tc.pickle))
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "f: offset ") {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
}

// Each encode of a remembered string takes a few bytes of the file and makes a
// copy: without a bound a small file would fill the memory.
func TestPickleEncodesNoMoreThanTheFileHolds(t *testing.T) {
	big := strings.Repeat("a", 1000)
	once := "c_codecs\nencode\nX\xe8\x03\x00\x00" + big + "q\x01U\x06latin1\x86R"
	again := "c_codecs\nencode\nh\x01U\x06latin1\x86R"
	if _, err := unpickle("f", []byte("\x80\x02}(U\x01a"+once+"u.")); err != nil {
		t.Errorf("encoding once: %v", err)
	}
	if _, err := unpickle("f", []byte("\x80\x02}(U\x01a"+once+"U\x01b"+again+"u.")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("encoding the same string twice: %v, want it refused", err)
	}
}

func TestPickleOfItselfEnds(t *testing.T) {
	// A list that holds itself, and a dictionary that holds itself.
	d, err := unpickle("f", []byte("\x80\x02}q\x00(U\x01a]q\x01h\x01aU\x01bh\x00u."))
	if err != nil {
		t.Fatal(err)
	}
	if d.items["b"] != any(d) {
		t.Error("the dictionary does not hold itself")
	}
}

func FuzzPickle(f *testing.F) {
	f.Add(picklePython2(someImages(1, 0), "training batch 1 of 5"))
	for _, name := range []string{"protocol2", "protocol3", "protocol4", "protocol5", "byteskeys"} {
		data, err := os.ReadFile(filepath.Join("testdata/python", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		im := &Images{Side: Side}
		if err := appendPython(im, "data_batch_1", data); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("%v, want it to wrap ErrCorrupt", err)
			}
			return
		}
		if im.Len() == 0 || len(im.Pixels) != im.Len()*PixelBytes || len(im.Pixels) > len(data) {
			t.Fatalf("%d images with %d bytes of pixels from a file of %d", im.Len(), len(im.Pixels), len(data))
		}
		for i, l := range im.Labels {
			if l > 9 {
				t.Fatalf("label %d of image %d", l, i)
			}
		}
	})
}
