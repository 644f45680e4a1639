package wire

import (
	"encoding/binary"

	"google.golang.org/protobuf/encoding/protowire"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Numbers of fields in muster.proto. TestHandWrittenBytesAreTheGeneratedOnes
// compares with the generated code.
const (
	requestGradient    = 3 // in ExchangeRequest
	requestFactors     = 5
	responseParameters = 2 // in ExchangeResponse
	fieldPayload       = 15

	gradientStep, gradientNode, gradientChunk, gradientEncoding, gradientChecksum, gradientVector = 1, 2, 3, 4, 5, 6
	nodeFirst, nodeEnd                                                                            = 1, 2
	parametersStep, parametersChunk, parametersEncoding, parametersChecksum                       = 1, 2, 3, 4

	factorsStep, factorsShard, factorsTensor, factorsImages, factorsEncoding, factorsChecksum = 1, 2, 3, 4, 5, 6
)

// headerBytes is more than the bytes before a payload that is written as Muster
// writes it: the tag and the length of the chunk within the exchange's message,
// its fields, the payload's own tag and length. The generated code reads longer ones.
const headerBytes = 64

// header is the part of a hot message before its payload.
type header struct {
	step              uint64
	first, end, chunk uint32
	encoding          musterv1.Encoding
	checksum          uint32
	vector            uint32
	images            uint32 // of factors, of which first is the shard and chunk the tensor
}

// appendGradient appends an ExchangeRequest's bytes up to a gradient's payload of n bytes.
func appendGradient(b []byte, h *header, n int) []byte {
	var fields [headerBytes]byte
	f := appendVarint(fields[:0], gradientStep, h.step)
	var node [2 * (1 + binary.MaxVarintLen32)]byte
	f = protowire.AppendTag(f, gradientNode, protowire.BytesType)
	f = protowire.AppendBytes(f, appendVarint(appendVarint(node[:0], nodeFirst, uint64(h.first)), nodeEnd, uint64(h.end)))
	f = appendVarint(f, gradientChunk, uint64(h.chunk))
	f = appendVarint(f, gradientEncoding, uint64(h.encoding))
	f = appendFixed32(f, gradientChecksum, h.checksum)
	f = appendVarint(f, gradientVector, uint64(h.vector))
	return appendChunk(b, requestGradient, f, n)
}

// appendParameters appends an ExchangeResponse's bytes up to the payload of a
// chunk of parameters of n bytes.
func appendParameters(b []byte, h *header, n int) []byte {
	var fields [headerBytes]byte
	f := appendVarint(fields[:0], parametersStep, h.step)
	f = appendVarint(f, parametersChunk, uint64(h.chunk))
	f = appendVarint(f, parametersEncoding, uint64(h.encoding))
	f = appendFixed32(f, parametersChecksum, h.checksum)
	return appendChunk(b, responseParameters, f, n)
}

// appendChunk appends tag and length of a chunk whose fields before the payload
// are given, the fields, and the payload's tag and length.
func appendChunk(b []byte, number protowire.Number, fields []byte, n int) []byte {
	b = protowire.AppendTag(b, number, protowire.BytesType)
	if n == 0 {
		return protowire.AppendBytes(b, fields) // an empty field is left out
	}
	b = protowire.AppendVarint(b, uint64(len(fields)+protowire.SizeTag(fieldPayload)+protowire.SizeBytes(n)))
	b = append(b, fields...)
	b = protowire.AppendTag(b, fieldPayload, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(n))
}

// appendVarint appends a field as proto3 does: not at all where it is 0.
func appendVarint(b []byte, number protowire.Number, v uint64) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), v)
}

func appendFixed32(b []byte, number protowire.Number, v uint32) []byte {
	if v == 0 {
		return b
	}
	return protowire.AppendFixed32(protowire.AppendTag(b, number, protowire.Fixed32Type), v)
}

// cursor reads fields. Once something is not as expected it is bad, and reads no more.
type cursor struct {
	bytes []byte
	at    int
	bad   bool
}

// take moves on by a field's n bytes; protowire has a negative n for what is broken.
func (r *cursor) take(n int) {
	if n < 0 {
		r.bad = true
		return
	}
	r.at += n
}

// has takes the tag of a field, if that is what follows.
func (r *cursor) has(number protowire.Number, kind protowire.Type) bool {
	if r.bad {
		return false
	}
	n, k, size := protowire.ConsumeTag(r.bytes[r.at:])
	if size < 0 || n != number || k != kind {
		return false
	}
	r.at += size
	return true
}

// varint takes a field that may be left out where it is 0.
func (r *cursor) varint(number protowire.Number) uint64 {
	if !r.has(number, protowire.VarintType) {
		return 0
	}
	v, n := protowire.ConsumeVarint(r.bytes[r.at:])
	r.take(n)
	return v
}

// fixed32 takes a field that may be left out where it is 0.
func (r *cursor) fixed32(number protowire.Number) uint32 {
	if !r.has(number, protowire.Fixed32Type) {
		return 0
	}
	v, n := protowire.ConsumeFixed32(r.bytes[r.at:])
	r.take(n)
	return v
}

// length takes the length of a field and returns where the field ends.
func (r *cursor) length() int {
	v, n := protowire.ConsumeVarint(r.bytes[r.at:])
	r.take(n)
	if v > 1<<31 {
		r.bad = true
		return 0
	}
	return r.at + int(v)
}

// reaches takes the tag and the length of a field that ends where the message does.
func (r *cursor) reaches(number protowire.Number, total int) {
	if !r.has(number, protowire.BytesType) || r.length() != total {
		r.bad = true
	}
}

// payload takes the tag and the length of the payload, which ends the message. Where
// that is in shared memory it is not there.
func (r *cursor) payload(h *header, total int) {
	if h.encoding == musterv1.Encoding_ENCODING_SHARED {
		r.bad = r.bad || r.at != total
		return
	}
	r.reaches(fieldPayload, total)
}

// parseGradient reads an ExchangeRequest of total bytes, of which b has the
// first. It returns where the payload begins, which goes on to the end, and
// false where the message is anything but a gradient written as Muster writes
// it: each field at most once, in order, the payload last. Another order is as
// right; the generated code reads it.
func parseGradient(b []byte, total int) (h header, at int, ok bool) {
	r := cursor{bytes: b}
	r.reaches(requestGradient, total)
	h.step = r.varint(gradientStep)
	if r.has(gradientNode, protowire.BytesType) {
		end := r.length()
		h.first = uint32(r.varint(nodeFirst))
		h.end = uint32(r.varint(nodeEnd))
		r.bad = r.bad || r.at != end
	} else {
		r.bad = true
	}
	h.chunk = uint32(r.varint(gradientChunk))
	h.encoding = musterv1.Encoding(r.varint(gradientEncoding))
	h.checksum = r.fixed32(gradientChecksum)
	h.vector = uint32(r.varint(gradientVector))
	r.payload(&h, total)
	return h, r.at, !r.bad
}

// parseParameters reads an ExchangeResponse as parseGradient does a request.
func parseParameters(b []byte, total int) (h header, at int, ok bool) {
	r := cursor{bytes: b}
	r.reaches(responseParameters, total)
	h.step = r.varint(parametersStep)
	h.chunk = uint32(r.varint(parametersChunk))
	h.encoding = musterv1.Encoding(r.varint(parametersEncoding))
	h.checksum = r.fixed32(parametersChecksum)
	r.payload(&h, total)
	return h, r.at, !r.bad
}
