package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"unsafe"

	"github.com/muster-train/muster/model/params"
)

// blockBytes is the unit of reading, writing and hashing.
const blockBytes = 1 << 20

// littleEndian tells whether float32 lie in memory as in the file; then vectors
// are read and written without a copy.
var littleEndian = func() bool {
	x := uint16(1)
	return *(*byte)(unsafe.Pointer(&x)) == 1
}()

// bytesOf returns the memory of v.
func bytesOf(v []float32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 4*len(v))
}

// tensorText is one tensor in the layout section.
type tensorText struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
}

// marshal is json.Marshal that leaves <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func layoutText(l *params.Layout) ([]byte, error) {
	texts := make([]tensorText, 0, len(l.Tensors()))
	for _, t := range l.Tensors() {
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		texts = append(texts, tensorText{t.Name, shape})
	}
	return marshal(texts)
}

// Encode writes s as one checkpoint file. It streams: beyond the two small text
// sections it holds no more than a block of 1 MiB. s must not change meanwhile.
func Encode(w io.Writer, s *State) error {
	if err := s.Validate(); err != nil {
		return err
	}
	meta, err := marshal(&s.Meta)
	if err != nil {
		return fmt.Errorf("checkpoint: meta: %w", err)
	}
	layout, err := layoutText(s.Layout)
	if err != nil {
		return fmt.Errorf("checkpoint: layout: %w", err)
	}
	for i, text := range [][]byte{meta, layout} {
		if len(text) > maxText {
			return fmt.Errorf("checkpoint: %s of %d bytes, at most %d are allowed", sectionNames[i], len(text), maxText)
		}
	}
	n := int64(4 * len(s.Parameters))
	t := newTable([sectionCount]int64{int64(len(meta)), int64(len(layout)), n, n})

	out := &writer{w: w}
	header := t.header()
	out.write(header)
	crcs := [1 + sectionCount]uint32{binary.LittleEndian.Uint32(header[len(header)-crcBytes:])}
	for i := range sectionCount {
		out.pad()
		out.crc = 0
		switch i {
		case sectionMeta:
			out.write(meta)
		case sectionLayout:
			out.write(layout)
		case sectionParameters:
			out.values(s.Parameters)
		case sectionMomentum:
			out.values(s.Momentum)
		}
		crcs[1+i] = out.crc
		out.write(binary.LittleEndian.AppendUint32(nil, out.crc))
	}
	out.pad()
	out.write(t.marker(crcs))
	if out.err != nil {
		return fmt.Errorf("checkpoint: write at offset %d: %w", out.at, out.err)
	}
	return nil
}

// writer writes blocks, hashes what it writes, and keeps the first error.
type writer struct {
	w   io.Writer
	at  int64
	crc uint32 // of everything since it was set to 0
	err error
}

func (o *writer) write(b []byte) {
	for len(b) > 0 && o.err == nil {
		block := b[:min(len(b), blockBytes)]
		o.crc = crc32.Update(o.crc, castagnoli, block)
		n, err := o.w.Write(block)
		if err == nil && n < len(block) {
			err = io.ErrShortWrite
		}
		o.at += int64(n)
		o.err = err
		b = b[len(block):]
	}
}

// pad writes zeros up to the next multiple of the alignment.
func (o *writer) pad() {
	var zeros [alignment]byte
	o.write(zeros[:align(o.at)-o.at])
}

func (o *writer) values(v []float32) {
	if littleEndian {
		o.write(bytesOf(v))
		return
	}
	var buf [blockBytes / 16]byte
	for len(v) > 0 && o.err == nil {
		n := min(len(v), len(buf)/4)
		for i, x := range v[:n] {
			binary.LittleEndian.PutUint32(buf[4*i:], math.Float32bits(x))
		}
		o.write(buf[:4*n])
		v = v[n:]
	}
}
