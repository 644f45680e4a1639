package wire

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"unsafe"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Segment is memory of float32 vectors that processes of one machine share. Who
// makes it writes, all others read. See SharedMemory in the protocol.
//
// It lives until it has been closed and every view of it has been freed.
type Segment struct {
	offer *musterv1.SharedMemory
	bytes []byte       // mapped
	unmap func()       // and closes the file, where there is one
	users atomic.Int64 // views, and one until Close
}

// ErrNotShared is that there is nothing to share: the system knows no such
// memory, or the other side is on another machine or does not see this one's files.
var ErrNotShared = errors.New("no shared memory")

const (
	segmentMagic = "muster vectors 1"
	segmentToken = 16
	segmentPage  = 4096
	// segmentLimit bounds what a peer can make this process map.
	segmentLimit uint64 = 1 << 40
)

// segmentBytes is the size of a segment; false where that is none, or too large.
func segmentBytes(vectors, values uint64) (n int, ok bool) {
	if vectors < 1 || values < 1 || values > segmentLimit/4 || vectors > segmentLimit/vectorBytes(values) {
		return 0, false
	}
	size := segmentPage + vectors*vectorBytes(values)
	return int(size), size <= math.MaxInt
}

// vectorBytes is the room of a vector.
func vectorBytes(values uint64) uint64 {
	return (4*values + segmentPage - 1) / segmentPage * segmentPage
}

// Offer is what another process needs to open the segment.
func (s *Segment) Offer() *musterv1.SharedMemory { return s.offer }

// Vectors is how many there are.
func (s *Segment) Vectors() int { return int(s.offer.Vectors) }

// Vector is one of the vectors, which begins at a multiple of a page.
func (s *Segment) Vector(i int) []float32 {
	at := segmentPage + i*int(vectorBytes(s.offer.Values))
	return unsafe.Slice((*float32)(unsafe.Pointer(&s.bytes[at])), s.offer.Values)
}

// Chunk is a payload that is a view of a chunk of a vector.
func (s *Segment) Chunk(vector, chunk uint32) (*Payload, error) {
	const most = ChunkBytes / 4
	values := int(s.offer.Values)
	if vector >= s.offer.Vectors || int(chunk) > (values-1)/most {
		return nil, fmt.Errorf("%w: chunk %d of vector %d in shared memory of %d vectors of %d values", ErrMalformed, chunk, vector, s.offer.Vectors, values)
	}
	if !s.enter() {
		return nil, fmt.Errorf("%w: it has been given back", ErrNotShared)
	}
	first := int(chunk) * most
	p := View(s.Vector(int(vector))[first:min(first+most, values)])
	p.segment = s
	return p, nil
}

// VectorOf tells which vector a view is of; false where it is of other memory.
func (s *Segment) VectorOf(p *Payload) (vector uint32, ok bool) {
	at := int(uintptr(unsafe.Pointer(unsafe.SliceData(p.bytes))) - uintptr(unsafe.Pointer(unsafe.SliceData(s.bytes))))
	if at < segmentPage || at >= len(s.bytes) {
		return 0, false
	}
	return uint32((at - segmentPage) / int(vectorBytes(s.offer.Values))), true
}

// Close gives the memory back once all views have been freed.
func (s *Segment) Close() { s.leave() }

// enter keeps the memory until leave, unless it has been given back.
func (s *Segment) enter() bool {
	for {
		n := s.users.Load()
		if n == 0 {
			return false
		}
		if s.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

func (s *Segment) leave() {
	if s.users.Add(-1) == 0 {
		s.unmap()
	}
}
