package wire

import (
	"encoding/binary"
	"fmt"
	"sync"
	"unsafe"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// ChunkBytes bounds the payload of a chunk: 256 Ki float32.
const ChunkBytes = 4 << 18

// Payload holds the values of one chunk on their way, in pooled memory, or is a
// view of memory that both ends share. It has one owner at a time, who hands it
// on with its message or frees it; nobody touches it after that.
//
// In memory numbers are as the machine has them, so that Floats is a view; the
// codec brings them into the order of the wire. What is to be sent may be encoded
// already; what has come is float32, whatever it came as.
type Payload struct {
	bytes    []byte            // of memory
	memory   *[ChunkBytes]byte // nil: a view
	segment  *Segment          // that it is a view of, if any
	encoding musterv1.Encoding // of bytes
	came     musterv1.Encoding // in which the values came over a connection; 0: they did not
	fault    error             // of a payload received: what is wrong with it
}

var payloads = sync.Pool{New: func() any { return &Payload{memory: new([ChunkBytes]byte)} }}

// NewPayload returns a payload for n float32, up to ChunkBytes/4, of any value.
func NewPayload(n int) *Payload { return newPayload(4 * n) }

func newPayload(bytes int) *Payload {
	p := payloads.Get().(*Payload)
	p.bytes, p.fault = p.memory[:bytes], nil
	p.encoding, p.came = musterv1.Encoding_ENCODING_F32, 0
	return p
}

// View returns a payload that is values themselves, all of a chunk's: they hold
// still until it is freed, and nobody writes to them through it.
func View(values []float32) *Payload {
	return &Payload{
		bytes:    unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values)),
		encoding: musterv1.Encoding_ENCODING_F32,
	}
}

// IsView tells whether the payload is a view of memory that others see.
func (p *Payload) IsView() bool { return p.memory == nil }

// Free gives the memory back. It must not be used after that.
func (p *Payload) Free() {
	switch {
	case !p.IsView():
		payloads.Put(p)
	case p.segment != nil:
		p.segment.leave()
	}
}

// Len is the payload's length in bytes as it travels.
func (p *Payload) Len() int {
	if p.fault == nil && p.came != 0 {
		return PayloadBytes(p.came, len(p.bytes)/4)
	}
	return len(p.bytes)
}

// Floats is a view of the values, of a payload that is not encoded and in which
// nothing is wrong.
func (p *Payload) Floats() []float32 {
	if len(p.bytes) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&p.bytes[0])), len(p.bytes)/4)
}

// Check tells whether the payload came whole and holds n float32, and whether it
// came in an encoding, where it came over a connection. Errors wrap ErrMalformed.
func (p *Payload) Check(n int, e musterv1.Encoding) error {
	switch {
	case p.fault != nil:
		return p.fault
	case p.came != 0 && p.came != e:
		return fmt.Errorf("%w: encoding %v, the job's is %v", ErrMalformed, p.came, e)
	case p.encoding != musterv1.Encoding_ENCODING_F32:
		return fmt.Errorf("%w: encoding %v where nothing is encoded", ErrMalformed, p.encoding)
	case len(p.bytes) != 4*n:
		want := 4 * n
		if p.came != 0 {
			want = PayloadBytes(p.came, n)
		}
		return fmt.Errorf("%w: payload of %d bytes, want %d", ErrMalformed, p.Len(), want)
	}
	return nil
}

// swap turns numbers of the machine into those of the wire and back.
func (p *Payload) swap() {
	if littleEndian {
		return
	}
	b := p.bytes
	switch p.encoding {
	case musterv1.Encoding_ENCODING_BF16:
		for ; len(b) >= 2; b = b[2:] {
			binary.BigEndian.PutUint16(b, binary.LittleEndian.Uint16(b))
		}
		return
	case musterv1.Encoding_ENCODING_INT8:
		n, _ := valuesIn(p.encoding, len(b))
		b = b[:scaleBytes*blocks(n)]
	}
	for ; len(b) >= 4; b = b[4:] {
		binary.BigEndian.PutUint32(b, binary.LittleEndian.Uint32(b))
	}
}
