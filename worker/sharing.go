package worker

import (
	"fmt"

	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// sharing is the memory that a worker and a server in another process share over
// one stream, from the worker's end. Each stream has memory of its own for sums:
// what the server of an earlier one may still read stays as it was.
type sharing struct {
	parameters *wire.Segment // the server's
	sums       *wire.Segment // the worker's
}

// mostSums is how many vectors of sums are shared at most; what a worker has more
// of goes over the stream. Vectors that are never written to take no memory.
const mostSums = 8

// share maps what a server offers, and makes memory for the sums of a job.
func share(offer *musterv1.SharedMemory, shards int) (*sharing, error) {
	parameters, err := wire.OpenSegment(offer)
	if err != nil {
		return nil, err
	}
	s := &sharing{parameters: parameters}
	if n := parameters.Vectors(); n != 2 {
		s.close()
		return nil, fmt.Errorf("%w: the server offers %d vectors of parameters, not 2", wire.ErrNotShared, n)
	}
	// Of n shards a worker owns siblings as a rule; at worst every other one.
	if s.sums, err = wire.NewSegment(min((shards+1)/2, mostSums), len(parameters.Vector(0))); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// vectors is what both see.
func (s *sharing) vectors() *wire.Shared {
	v := &wire.Shared{Parameters: [2][]float32{s.parameters.Vector(0), s.parameters.Vector(1)}}
	for i := range s.sums.Vectors() {
		v.Sums = append(v.Sums, s.sums.Vector(i))
	}
	return v
}

// send makes a message say that a view of the sums is ready.
func (s *sharing) send(g *wire.Gradient) {
	if g.Payload != nil {
		g.Vector, g.Shared = s.sums.VectorOf(g.Payload)
	}
}

// receive puts the view in place of which a message says that it is ready.
func (s *sharing) receive(p *wire.Parameters) (err error) {
	if p.Shared {
		p.Payload, err = s.parameters.Chunk(uint32(p.Step%2), p.Chunk)
	}
	return err
}

func (s *sharing) close() {
	s.parameters.Close()
	if s.sums != nil {
		s.sums.Close()
	}
}
