package wire

import (
	"bytes"
	"fmt"
	"slices"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Gradient is a GradientChunk: the values of a chunk of the sum over
// the shards [First, End) at a step.
type Gradient struct {
	Step              uint64
	First, End, Chunk uint32
	Payload           *Payload

	// Shared tells that the values are in a vector of memory that both ends share.
	// Who sends over a connection sets it for a view, who receives makes the view.
	Shared bool
	Vector uint32
}

// Parameters is a ParametersChunk.
type Parameters struct {
	Step    uint64
	Chunk   uint32
	Payload *Payload

	Shared bool // as Gradient's
}

// Request is an ExchangeRequest: Message, or a gradient, with a payload or shared, or
// factors with values.
type Request struct {
	Gradient Gradient
	Factors  Factors
	Message  *musterv1.ExchangeRequest
}

// Response is an ExchangeResponse: Message, or parameters, with a payload or shared.
type Response struct {
	Parameters Parameters
	Message    *musterv1.ExchangeResponse
}

// Free gives back what the message holds, if anything.
func (r *Request) Free() {
	if p := r.Gradient.Payload; p != nil {
		r.Gradient.Payload = nil
		p.Free()
	}
	if v := r.Factors.Values; v != nil {
		r.Factors.Values = nil
		v.Free()
	}
}

// Free gives back what the message holds, if anything.
func (r *Response) Free() {
	if p := r.Parameters.Payload; p != nil {
		r.Parameters.Payload = nil
		p.Free()
	}
}

// RequestOf makes a Request of the message as the protocol has it; what a
// payload holds is copied.
func RequestOf(m *musterv1.ExchangeRequest) *Request {
	if g := m.GetGradient(); g != nil {
		return &Request{Gradient: GradientOf(g)}
	}
	if f := m.GetFactors(); f != nil {
		return &Request{Factors: FactorsOf(f)}
	}
	return &Request{Message: m}
}

// GradientOf makes a Gradient of the message as the protocol has it, with a
// copy of its payload, decoded. What is wrong with that, Payload.Check tells.
func GradientOf(g *musterv1.GradientChunk) Gradient {
	of := Gradient{Step: g.Step, First: g.GetNode().GetFirst(), End: g.GetNode().GetEnd(), Chunk: g.Chunk}
	if g.Encoding == musterv1.Encoding_ENCODING_SHARED {
		of.Shared, of.Vector = true, g.Vector
	} else {
		of.Payload = payloadOf(g)
	}
	return of
}

// Message is the gradient as the protocol has it, with a copy of its payload.
func (g *Gradient) Message() *musterv1.GradientChunk {
	encoding, data := g.Payload.onTheWire()
	return &musterv1.GradientChunk{
		Step: g.Step, Node: &musterv1.Node{First: g.First, End: g.End}, Chunk: g.Chunk,
		Encoding: encoding, Checksum: Checksum(data), Payload: data,
	}
}

// Message is the parameters as the protocol has them, with a copy of their payload.
func (c *Parameters) Message() *musterv1.ParametersChunk {
	encoding, data := c.Payload.onTheWire()
	return &musterv1.ParametersChunk{Step: c.Step, Chunk: c.Chunk, Encoding: encoding, Checksum: Checksum(data), Payload: data}
}

// onTheWire copies what would be sent of a payload.
func (p *Payload) onTheWire() (musterv1.Encoding, []byte) {
	copied := Payload{bytes: bytes.Clone(p.bytes), encoding: p.encoding}
	copied.swap()
	return copied.encoding, copied.bytes
}

// ResponseOf makes a Response of the message as the protocol has it; what a
// payload holds is copied.
func ResponseOf(m *musterv1.ExchangeResponse) *Response {
	p := m.GetParameters()
	if p == nil {
		return &Response{Message: m}
	}
	of := Parameters{Step: p.Step, Chunk: p.Chunk}
	if p.Encoding == musterv1.Encoding_ENCODING_SHARED {
		of.Shared = true
	} else {
		of.Payload = payloadOf(p)
	}
	return &Response{Parameters: of}
}

// payloadOf copies the payload of a chunk.
func payloadOf(c Chunk) *Payload {
	data := c.GetPayload()
	if len(data) > ChunkBytes {
		p := newPayload(0)
		p.fault = tooLong(len(data))
		return p
	}
	p := newPayload(len(data))
	copy(p.bytes, data)
	return p.arrived(c.GetEncoding(), Checksum(data), c.GetChecksum())
}

// arrived decodes a payload that has come, or notes what is wrong with it, by its
// encoding and the checksum of its bytes beside the sender's. It takes p over.
func (p *Payload) arrived(e musterv1.Encoding, sum, sender uint32) *Payload {
	n, whole := valuesIn(e, len(p.bytes))
	switch {
	case !slices.Contains(spoken[:], e):
		p.fault = fmt.Errorf("%w: encoding %v is not known here", ErrMalformed, e)
	case sum != sender:
		p.fault = fmt.Errorf("%w: checksum %08x, the sender's was %08x", ErrMalformed, sum, sender)
	case !whole:
		p.fault = fmt.Errorf("%w: payload of %d bytes is none of a chunk in %v", ErrMalformed, len(p.bytes), e)
	default:
		p.encoding, p.came = e, e
		p.swap()
		return decode(p, n)
	}
	return p
}

func tooLong(n int) error {
	return fmt.Errorf("%w: payload of %d bytes, at most %d are a chunk", ErrMalformed, n, ChunkBytes)
}
