package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sort"

	"github.com/muster-train/muster/model/params"
)

// maxHeader is the longest header that the format allows.
const maxHeader = 100_000_000

// Errors that Read and Vector wrap.
var (
	ErrCorrupt = errors.New("not a whole safetensors file")
	ErrLayout  = errors.New("its tensors are not those wanted")
)

// File is what a file holds.
type File struct {
	Metadata map[string]string
	tensors  map[string]entry
	data     []byte
}

// Read reads a file.
func Read(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	f, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Parse reads a file's bytes, which the File keeps.
func Parse(data []byte) (*File, error) {
	f, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return f, nil
}

func parse(data []byte) (*File, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("%d bytes", len(data))
	}
	n := binary.LittleEndian.Uint64(data)
	if n > maxHeader || n > uint64(len(data)-8) {
		return nil, fmt.Errorf("a header of %d bytes in a file of %d", n, len(data))
	}
	f := &File{tensors: map[string]entry{}, data: data[8+n:]}
	if err := f.header(data[8 : 8+n]); err != nil {
		return nil, err
	}
	return f, f.cover()
}

// header reads the JSON key by key, so that one given twice is found.
func (f *File) header(text []byte) error {
	if len(text) == 0 || text[0] != '{' {
		return errors.New("the header does not begin with {")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return err
		}
		name, ok := token.(string)
		if !ok {
			return fmt.Errorf("%v where a name is expected", token)
		}
		if _, twice := f.tensors[name]; twice || name == metadataKey && f.Metadata != nil {
			return fmt.Errorf("%q is given twice", name)
		}
		if name == metadataKey {
			f.Metadata = map[string]string{}
			if err := d.Decode(&f.Metadata); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		var e entry
		if err := d.Decode(&e); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		f.tensors[name] = e
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the header's }")
	}
	return nil
}

// widths are the bytes of a value of each type of the format.
var widths = map[string]int64{
	"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
	"U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}

// cover checks that the tensors fill the data exactly, each as its shape says.
func (f *File) cover() error {
	names := make([]string, 0, len(f.tensors))
	for name, e := range f.tensors {
		width, ok := widths[e.DType]
		if !ok {
			return fmt.Errorf("%q: type %q is not known", name, e.DType)
		}
		want := width
		for _, d := range e.Shape {
			if d < 0 || d > 0 && want > int64(len(f.data))/d {
				return fmt.Errorf("%q: shape %v does not fit %d bytes of data", name, e.Shape, len(f.data))
			}
			want *= d
		}
		if begin, end := e.Offsets[0], e.Offsets[1]; begin < 0 || end < begin || end > int64(len(f.data)) || end-begin != want {
			return fmt.Errorf("%q: offsets %v, want %d bytes for %s %v within %d bytes of data", name, e.Offsets, want, e.DType, e.Shape, len(f.data))
		}
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := f.tensors[names[i]].Offsets, f.tensors[names[j]].Offsets
		return a[0] < b[0] || a[0] == b[0] && a[1] < b[1]
	})
	at := int64(0)
	for _, name := range names {
		if begin := f.tensors[name].Offsets[0]; begin != at {
			return fmt.Errorf("%q begins at byte %d, what is before it ends at %d", name, begin, at)
		}
		at = f.tensors[name].Offsets[1]
	}
	if at != int64(len(f.data)) {
		return fmt.Errorf("the tensors end at byte %d of %d", at, len(f.data))
	}
	return nil
}

// Names returns the names of all tensors, sorted.
func (f *File) Names() []string {
	var names []string
	for name := range f.tensors {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Vector returns the values of a layout's tensors, taken by name, in the
// layout's order. Other tensors, other shapes and other types than float32 are
// errors that wrap ErrLayout.
func (f *File) Vector(layout *params.Layout) ([]float32, error) {
	for _, name := range f.Names() {
		if _, ok := layout.Tensor(name); !ok {
			return nil, fmt.Errorf("%w: %q is not in the network", ErrLayout, name)
		}
	}
	values := make([]float32, 0, min(layout.Size(), len(f.data)/4))
	for _, t := range layout.Tensors() {
		e, ok := f.tensors[t.Name]
		if !ok {
			return nil, fmt.Errorf("%w: %q is missing", ErrLayout, t.Name)
		}
		if e.DType != "F32" {
			return nil, fmt.Errorf("%w: %q has type %s, F32 is needed", ErrLayout, t.Name, e.DType)
		}
		if !slices.EqualFunc(e.Shape, t.Shape, func(a int64, b int) bool { return a == int64(b) }) {
			return nil, fmt.Errorf("%w: %q has shape %v, the network's is %v", ErrLayout, t.Name, e.Shape, t.Shape)
		}
		for at := e.Offsets[0]; at < e.Offsets[1]; at += 4 {
			values = append(values, math.Float32frombits(binary.LittleEndian.Uint32(f.data[at:])))
		}
	}
	return values, nil
}
