package wire

import (
	"sync"

	"google.golang.org/grpc/mem"
)

// Frames is a gRPC buffer pool for connections that carry chunks. gRPC's own
// clears what it gives out again, frame by frame; here a connection overwrites
// all of a buffer that it looks at, so that would be one more pass over every
// byte received.
type Frames struct{}

// ConnectionBytes is what gRPC should read from and write to a connection at a
// time, for which there are buffers too.
const ConnectionBytes = 256 << 10

const frameBytes = 16 << 10 // of HTTP/2, at most

var framePools = [2]struct {
	size int
	pool sync.Pool
}{{size: frameBytes}, {size: ConnectionBytes}}

// Get returns a buffer of n bytes of any value.
func (Frames) Get(n int) *[]byte {
	for i := range framePools {
		p := &framePools[i]
		if n <= p.size/4 || n > p.size {
			continue
		}
		b, ok := p.pool.Get().(*[]byte)
		if !ok {
			fresh := make([]byte, p.size)
			b = &fresh
		}
		*b = (*b)[:n]
		return b
	}
	return mem.DefaultBufferPool().Get(n)
}

// Put takes a buffer back.
func (Frames) Put(b *[]byte) {
	for i := range framePools {
		if p := &framePools[i]; cap(*b) == p.size {
			*b = (*b)[:p.size]
			p.pool.Put(b)
			return
		}
	}
	mem.DefaultBufferPool().Put(b)
}
