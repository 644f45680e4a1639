package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"

	"github.com/muster-train/muster/model/params"
)

// Decode reads a checkpoint file of size bytes. What is not whole is an error
// that wraps ErrCorrupt and names section and offset.
func Decode(r io.ReaderAt, size int64) (*State, error) {
	in, err := open(r, size)
	if err != nil {
		return nil, err
	}
	s := &State{}
	if err := in.texts(s); err != nil {
		return nil, err
	}
	if s.Parameters, err = in.vector(sectionParameters); err != nil {
		return nil, err
	}
	if s.Momentum, err = in.vector(sectionMomentum); err != nil {
		return nil, err
	}
	return s, in.end()
}

// Read reads the checkpoint file at path.
func Read(path string) (*State, error) {
	var s *State
	err := withFile(path, func(r io.ReaderAt, size int64) (err error) {
		s, err = Decode(r, size)
		return err
	})
	return s, err
}

// ReadMeta reads what the checkpoint file at path says about itself, and its
// layout. It checks these and that the file has its full size, but does not
// read the vectors.
func ReadMeta(path string) (*Meta, *params.Layout, error) {
	s := &State{}
	err := withFile(path, func(r io.ReaderAt, size int64) error {
		in, err := open(r, size)
		if err != nil {
			return err
		}
		return in.texts(s)
	})
	if err != nil {
		return nil, nil, err
	}
	return &s.Meta, s.Layout, nil
}

// Verify reads the whole file at path and returns nil if it is a whole
// checkpoint. It holds no more than a block of it in memory.
func Verify(path string) error {
	return withFile(path, func(r io.ReaderAt, size int64) error {
		in, err := open(r, size)
		if err != nil {
			return err
		}
		if err := in.texts(&State{}); err != nil {
			return err
		}
		block := make([]byte, min(blockBytes, in.table.length[sectionParameters]))
		for _, i := range []int{sectionParameters, sectionMomentum} {
			if err := in.section(i, func(int64) []byte { return block }); err != nil {
				return err
			}
		}
		return in.end()
	})
}

// withFile calls f with the file at path and names the path in its error.
func withFile(path string, f func(r io.ReaderAt, size int64) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err // names the path
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a file", path)
	}
	if err := f(file, info.Size()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// reader reads the sections of one file and keeps their CRCs.
type reader struct {
	r     io.ReaderAt
	table table
	crcs  [1 + sectionCount]uint32
}

// open reads and checks the header.
func open(r io.ReaderAt, size int64) (*reader, error) {
	header := make([]byte, min(headerBytes, max(size, 0)))
	if err := readAt(r, header, 0, "header"); err != nil {
		return nil, err
	}
	t, err := parseHeader(header, size)
	if err != nil {
		return nil, err
	}
	in := &reader{r: r, table: t}
	in.crcs[0] = binary.LittleEndian.Uint32(header[headerBytes-crcBytes:])
	return in, in.zeros(headerBytes, t.offset[0], "header")
}

// readAt fills b; an end of the file within it is corruption, other errors are the disk's.
func readAt(r io.ReaderAt, b []byte, offset int64, section string) error {
	n, err := r.ReadAt(b, offset)
	switch {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), err == nil:
		return corrupt(section, offset+int64(n), "the file ends, %d more bytes were expected", len(b)-n)
	}
	return fmt.Errorf("section %s, offset %d: %w", section, offset, err)
}

// zeros checks that [from, to) holds zeros only; it is shorter than the alignment.
func (in *reader) zeros(from, to int64, section string) error {
	var buf [alignment]byte
	b := buf[:to-from]
	if err := readAt(in.r, b, from, section); err != nil {
		return err
	}
	for i, x := range b {
		if x != 0 {
			return corrupt(section, from+int64(i), "byte %#02x in the padding, zero was expected", x)
		}
	}
	return nil
}

// section reads section i block by block, checks its CRC and the padding after
// it. into returns where to put the bytes from an offset within the section on,
// not nil as long as the section lasts; a longer answer is cut to the rest.
func (in *reader) section(i int, into func(at int64) []byte) error {
	name, offset, length := sectionNames[i], in.table.offset[i], in.table.length[i]
	crc := uint32(0)
	for at := int64(0); at < length; {
		b := into(at)
		b = b[:min(int64(len(b)), length-at, blockBytes)]
		if err := readAt(in.r, b, offset+at, name); err != nil {
			return err
		}
		crc = crc32.Update(crc, castagnoli, b)
		at += int64(len(b))
	}
	var stored [crcBytes]byte
	if err := readAt(in.r, stored[:], offset+length, name); err != nil {
		return err
	}
	if want := binary.LittleEndian.Uint32(stored[:]); crc != want {
		return corrupt(name, offset, "CRC-32C is %08x, %08x was expected", crc, want)
	}
	in.crcs[1+i] = crc
	next := in.table.end
	if i+1 < sectionCount {
		next = in.table.offset[i+1]
	}
	return in.zeros(offset+length+crcBytes, next, name)
}

// end checks the end marker; all sections must have been read.
func (in *reader) end() error {
	var b [endBytes]byte
	if err := readAt(in.r, b[:], in.table.end, "end"); err != nil {
		return err
	}
	if !bytes.Equal(b[:], in.table.marker(in.crcs)) {
		return corrupt("end", in.table.end, "the end marker does not belong to the sections before it")
	}
	return nil
}

// texts reads meta and layout into s.
func (in *reader) texts(s *State) error {
	for _, part := range []struct {
		section int
		into    any
	}{{sectionMeta, &s.Meta}, {sectionLayout, &[]tensorText{}}} {
		text := make([]byte, in.table.length[part.section])
		if err := in.section(part.section, func(at int64) []byte { return text[at:] }); err != nil {
			return err
		}
		if err := json.Unmarshal(text, part.into); err != nil {
			return corrupt(sectionNames[part.section], in.table.offset[part.section], "%v", err)
		}
		if tensors, ok := part.into.(*[]tensorText); ok {
			layout, err := in.layout(*tensors)
			if err != nil {
				return err
			}
			s.Layout = layout
		}
	}
	return nil
}

// layout makes a Layout of its text, whose size must be that of the vectors.
func (in *reader) layout(texts []tensorText) (*params.Layout, error) {
	offset, values := in.table.offset[sectionLayout], in.table.length[sectionParameters]/4
	tensors, total := make([]params.Tensor, len(texts)), int64(0)
	for i, t := range texts {
		n := int64(1)
		for _, d := range t.Shape {
			if d <= 0 || n > values/int64(d) {
				return nil, corrupt("layout", offset, "tensor %q of shape %v beside %d values", t.Name, t.Shape, values)
			}
			n *= int64(d)
		}
		if total += n; total > values {
			break
		}
		tensors[i] = params.Tensor{Name: t.Name, Shape: t.Shape}
	}
	if total != values || in.table.length[sectionParameters]%4 != 0 {
		return nil, corrupt("layout", offset, "its tensors do not have %d values, as the vectors do", values)
	}
	l, err := params.NewLayout(tensors)
	if err != nil {
		return nil, corrupt("layout", offset, "%v", err)
	}
	return l, nil
}

// vector reads a section of values. Its length has been checked against the
// size of the file.
func (in *reader) vector(i int) ([]float32, error) {
	v := params.NewVector(int(in.table.length[i] / 4))
	b := bytesOf(v)
	if err := in.section(i, func(at int64) []byte { return b[at:] }); err != nil {
		return nil, err
	}
	if !littleEndian {
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
	}
	return v, nil
}
