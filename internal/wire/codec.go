package wire

import (
	"fmt"
	"hash/crc32"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Codec is gRPC's for protobuf, and takes *Request and *Response too: in the
// same bytes as ExchangeRequest and ExchangeResponse, but gradients, factors and
// parameters go from their payload to the connection and come from there into
// one without a copy between, and without garbage. Clients in other languages
// need nothing of it.
//
// Marshal takes over a message's payload, which the message no longer holds, and
// frees it when it has been sent.
type Codec struct{}

// Name is that of gRPC's codec: the same bytes.
func (Codec) Name() string { return protocodec.Name }

// Marshal writes a message.
func (Codec) Marshal(v any) (mem.BufferSlice, error) {
	switch m := v.(type) {
	case *Request:
		if g := &m.Gradient; g.Shared {
			m.Free()
			h := header{step: g.Step, first: g.First, end: g.End, chunk: g.Chunk, vector: g.Vector, encoding: musterv1.Encoding_ENCODING_SHARED}
			return mem.BufferSlice{mem.SliceBuffer(appendGradient(make([]byte, 0, headerBytes), &h, 0))}, nil
		} else if g.Payload != nil {
			h := header{step: g.Step, first: g.First, end: g.End, chunk: g.Chunk}
			p := g.Payload
			p.seal(&h)
			g.Payload = nil
			return lend(appendGradient(make([]byte, 0, headerBytes), &h, len(p.bytes)), &p.bytes, p), nil
		} else if f := &m.Factors; f.Values != nil {
			values := f.Values
			h := values.seal(f)
			f.Values = nil
			return lend(appendFactors(make([]byte, 0, headerBytes), &h, len(values.bytes)), &values.bytes, values), nil
		}
		v = m.Message
	case *Response:
		if c := &m.Parameters; c.Shared {
			m.Free()
			h := header{step: c.Step, chunk: c.Chunk, encoding: musterv1.Encoding_ENCODING_SHARED}
			return mem.BufferSlice{mem.SliceBuffer(appendParameters(make([]byte, 0, headerBytes), &h, 0))}, nil
		} else if c.Payload != nil {
			h := header{step: c.Step, chunk: c.Chunk}
			p := c.Payload
			p.seal(&h)
			c.Payload = nil
			return lend(appendParameters(make([]byte, 0, headerBytes), &h, len(p.bytes)), &p.bytes, p), nil
		}
		v = m.Message
	}
	return encoding.GetCodecV2(protocodec.Name).Marshal(v)
}

// seal makes a payload ready for the wire, and its header tell what it is.
func (p *Payload) seal(h *header) {
	p.swap()
	h.encoding, h.checksum = p.encoding, Checksum(p.bytes)
}

// lend lends the bytes of an owner's memory to gRPC, with those that go before them.
func lend[T interface{ Free() }](head []byte, bytes *[]byte, owner T) mem.BufferSlice {
	if len(*bytes) == 0 {
		owner.Free()
		return mem.BufferSlice{mem.SliceBuffer(head)}
	}
	// gRPC gives back what has a capacity above a threshold: theirs is that of the whole memory.
	return mem.BufferSlice{mem.SliceBuffer(head), mem.NewBuffer(bytes, lender[T]{owner})}
}

// lender takes memory back from gRPC.
type lender[T interface{ Free() }] struct{ owner T }

func (l lender[T]) Put(*[]byte)     { l.owner.Free() }
func (lender[T]) Get(n int) *[]byte { b := make([]byte, n); return &b }

// Unmarshal reads a message. A *Request or *Response with a payload is its
// reader's to free.
func (Codec) Unmarshal(data mem.BufferSlice, v any) error {
	switch m := v.(type) {
	case *Request:
		*m = Request{}
		if h, payload, ok := unmarshal(data, requestGradient); ok {
			m.Gradient = Gradient{
				Step: h.step, First: h.first, End: h.end, Chunk: h.chunk, Payload: payload,
				Shared: payload == nil, Vector: h.vector,
			}
			return nil
		}
		if f, ok := unmarshalFactors(data); ok {
			m.Factors = f
			return nil
		}
		var slow musterv1.ExchangeRequest
		if err := unmarshalSlowly(data, &slow); err != nil {
			return err
		}
		*m = *RequestOf(&slow)
		return nil
	case *Response:
		*m = Response{}
		if h, payload, ok := unmarshal(data, responseParameters); ok {
			m.Parameters = Parameters{Step: h.step, Chunk: h.chunk, Payload: payload, Shared: payload == nil}
			return nil
		}
		var slow musterv1.ExchangeResponse
		if err := unmarshalSlowly(data, &slow); err != nil {
			return err
		}
		*m = *ResponseOf(&slow)
		return nil
	}
	return encoding.GetCodecV2(protocodec.Name).Unmarshal(data, v)
}

func unmarshalSlowly(data mem.BufferSlice, m proto.Message) error {
	if err := proto.Unmarshal(data.Materialize(), m); err != nil {
		return fmt.Errorf("exchange: %w", err)
	}
	return nil
}

// unmarshal reads the hot message of a field, however it is split, with one
// copy of its payload, which is decoded then, and nil where it is in shared memory. It returns false
// where the message isn't one, or isn't written as Muster does.
func unmarshal(data mem.BufferSlice, field protowire.Number) (h header, p *Payload, ok bool) {
	total := data.Len()
	var first [headerBytes]byte
	n := begin(&first, data)
	var at int
	if field == requestGradient {
		h, at, ok = parseGradient(first[:n], total)
	} else {
		h, at, ok = parseParameters(first[:n], total)
	}
	switch {
	case !ok || total-at > ChunkBytes:
		return h, nil, false
	case h.encoding == musterv1.Encoding_ENCODING_SHARED:
		return h, nil, true
	}
	p = newPayload(total - at)
	return h, p.arrived(h.encoding, rest(p.bytes, data, at), h.checksum), true
}

// unmarshalFactors is unmarshal of Factors.
func unmarshalFactors(data mem.BufferSlice) (f Factors, ok bool) {
	total := data.Len()
	var first [headerBytes]byte
	h, at, ok := parseFactors(first[:begin(&first, data)], total)
	if !ok {
		return Factors{}, false
	}
	values := newOperands(total - at)
	values.arrived(h.encoding, rest(values.bytes, data, at), h.checksum)
	return Factors{Step: h.step, Shard: h.first, Tensor: h.chunk, Images: h.images, Values: values}, true
}

// begin copies as much of a message's beginning as there is room for.
func begin(first *[headerBytes]byte, data mem.BufferSlice) (n int) {
	for _, b := range data {
		if n += copy(first[n:], b.ReadOnlyData()); n == len(first) {
			break
		}
	}
	return n
}

// rest copies a message to dst, from place at on, and returns the checksum of that.
func rest(dst []byte, data mem.BufferSlice, at int) (sum uint32) {
	to := 0
	for _, b := range data {
		piece := b.ReadOnlyData()
		skip := min(at, len(piece))
		at -= skip
		to += copy(dst[to:], piece[skip:])
		sum = crc32.Update(sum, castagnoli, piece[skip:])
	}
	return sum
}
