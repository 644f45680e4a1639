package wire

import (
	"encoding/binary"
	"fmt"
	"sync"
	"unsafe"
)

// ChunkBytes bounds the payload of a chunk: 256 Ki float32.
const ChunkBytes = 4 << 18

// Payload holds the values of one chunk on their way, in pooled memory, or is a
// view of memory that both ends share. It has one owner at a time, who hands it
// on with its message or frees it; nobody touches it after that.
//
// In memory the float32 are as the machine has them, so that Floats is a view;
// the codec brings them into the order of the wire.
type Payload struct {
	bytes   []byte            // of memory
	memory  *[ChunkBytes]byte // nil: a view
	segment *Segment          // that it is a view of, if any
	fault   error             // of a payload received: what is wrong with it
}

var payloads = sync.Pool{New: func() any { return &Payload{memory: new([ChunkBytes]byte)} }}

// NewPayload returns a payload for n float32, up to ChunkBytes/4, of any value.
func NewPayload(n int) *Payload { return newPayload(4 * n) }

func newPayload(bytes int) *Payload {
	p := payloads.Get().(*Payload)
	p.bytes, p.fault = p.memory[:bytes], nil
	return p
}

// View returns a payload that is values themselves, all of a chunk's: they hold
// still until it is freed. It stays within a process, and nobody writes to it.
func View(values []float32) *Payload {
	return &Payload{bytes: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), 4*len(values))}
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

// Len is the payload's length in bytes.
func (p *Payload) Len() int { return len(p.bytes) }

// Floats is a view of the values. Len must be a multiple of 4.
func (p *Payload) Floats() []float32 {
	if len(p.bytes) == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&p.bytes[0])), len(p.bytes)/4)
}

// Check tells whether the payload came whole and holds n float32. Errors wrap ErrMalformed.
func (p *Payload) Check(n int) error {
	if p.fault != nil {
		return p.fault
	}
	if len(p.bytes) != 4*n {
		return fmt.Errorf("%w: payload of %d bytes, want %d", ErrMalformed, len(p.bytes), 4*n)
	}
	return nil
}

// swap turns float32 of the machine into those of the wire and back.
func (p *Payload) swap() {
	if littleEndian {
		return
	}
	for b := p.bytes; len(b) >= 4; b = b[4:] {
		binary.BigEndian.PutUint32(b, binary.LittleEndian.Uint32(b))
	}
}
