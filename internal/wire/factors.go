package wire

import (
	"fmt"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Factors is a Factors message: what the gradient of a tensor is the product of, of a
// shard's images at a step.
type Factors struct {
	Step                  uint64
	Shard, Tensor, Images uint32
	Values                *Operands // activations (Images, in), then deltas (Images, out)

	// First and End are the chunks [First, End) that they stand for. Who sends knows them,
	// to whom they go; they are not in the message.
	First, End uint32
}

// FactorsOf makes Factors of the message as the protocol has it, with a copy of its
// payload. What is wrong with that, Operands.Check tells.
func FactorsOf(m *musterv1.Factors) Factors {
	values := newOperands(len(m.Payload))
	copy(values.bytes, m.Payload)
	values.arrived(m.Encoding, Checksum(m.Payload), m.Checksum)
	return Factors{Step: m.Step, Shard: m.Shard, Tensor: m.Tensor, Images: m.Images, Values: values}
}

// Message is the factors as the protocol has them, with a copy of their values.
func (f *Factors) Message() *musterv1.Factors {
	copied := newOperands(len(f.Values.bytes))
	copy(copied.bytes, f.Values.bytes)
	copied.swap()
	return &musterv1.Factors{
		Step: f.Step, Shard: f.Shard, Tensor: f.Tensor, Images: f.Images,
		Encoding: musterv1.Encoding_ENCODING_F32, Checksum: Checksum(copied.bytes), Payload: copied.bytes,
	}
}

// seal makes the values ready for the wire, and returns the header that tells what
// they are.
func (o *Operands) seal(f *Factors) header {
	o.swap()
	return header{step: f.Step, first: f.Shard, chunk: f.Tensor, images: f.Images, encoding: musterv1.Encoding_ENCODING_F32, checksum: Checksum(o.bytes)}
}

// arrived takes note of what is wrong with values that have come, by their encoding
// and the checksum of their bytes beside the sender's, and of what is right.
func (o *Operands) arrived(e musterv1.Encoding, sum, sender uint32) {
	switch {
	case e != musterv1.Encoding_ENCODING_F32:
		o.fault = fmt.Errorf("%w: factors in encoding %v, want %v", ErrMalformed, e, musterv1.Encoding_ENCODING_F32)
	case sum != sender:
		o.fault = fmt.Errorf("%w: checksum %08x, the sender's was %08x", ErrMalformed, sum, sender)
	case len(o.bytes)%4 != 0:
		o.fault = fmt.Errorf("%w: %d bytes of factors are no float32s", ErrMalformed, len(o.bytes))
	default:
		o.swap()
	}
}

// appendFactors appends an ExchangeRequest's bytes up to the payload of factors of n bytes.
func appendFactors(b []byte, h *header, n int) []byte {
	var fields [headerBytes]byte
	f := appendVarint(fields[:0], factorsStep, h.step)
	f = appendVarint(f, factorsShard, uint64(h.first))
	f = appendVarint(f, factorsTensor, uint64(h.chunk))
	f = appendVarint(f, factorsImages, uint64(h.images))
	f = appendVarint(f, factorsEncoding, uint64(h.encoding))
	f = appendFixed32(f, factorsChecksum, h.checksum)
	return appendChunk(b, requestFactors, f, n)
}

// parseFactors reads factors as parseGradient does a gradient.
func parseFactors(b []byte, total int) (h header, at int, ok bool) {
	r := cursor{bytes: b}
	r.reaches(requestFactors, total)
	h.step = r.varint(factorsStep)
	h.first = uint32(r.varint(factorsShard))
	h.chunk = uint32(r.varint(factorsTensor))
	h.images = uint32(r.varint(factorsImages))
	h.encoding = musterv1.Encoding(r.varint(factorsEncoding))
	h.checksum = r.fixed32(factorsChecksum)
	r.reaches(fieldPayload, total)
	return h, r.at, !r.bad
}
