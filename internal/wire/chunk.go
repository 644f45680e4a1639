package wire

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"unsafe"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// ErrMalformed is a chunk whose encoding, size or checksum is wrong.
var ErrMalformed = errors.New("malformed chunk")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Checksum is the CRC-32C of a payload.
func Checksum(payload []byte) uint32 { return crc32.Checksum(payload, castagnoli) }

// littleEndian tells whether float32 lie in memory as payloads have them.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// bytesOf returns values as little-endian float32. Where the machine is
// little-endian that is a view: it changes as the values do, and costs nothing.
func bytesOf(values []float32) []byte {
	if littleEndian && len(values) > 0 {
		return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), 4*len(values))
	}
	payload := make([]byte, 0, 4*len(values))
	for _, x := range values {
		payload = binary.LittleEndian.AppendUint32(payload, math.Float32bits(x))
	}
	return payload
}

// NewGradientChunk makes the message of one contribution: the values of a chunk of the
// sum over the shards [first, end) at a step. Its payload may be a view of
// values, which must not change until the message has been sent.
func NewGradientChunk(step uint64, first, end, chunk int, values []float32) *musterv1.GradientChunk {
	payload := bytesOf(values)
	return &musterv1.GradientChunk{
		Step:     step,
		Node:     &musterv1.Node{First: uint32(first), End: uint32(end)},
		Chunk:    uint32(chunk),
		Encoding: musterv1.Encoding_ENCODING_F32,
		Checksum: Checksum(payload),
		Payload:  payload,
	}
}

// NewParametersChunk makes the message of a chunk of the parameters at a step. Its
// payload may be a view of values, as NewGradientChunk's.
func NewParametersChunk(step uint64, chunk int, values []float32) *musterv1.ParametersChunk {
	payload := bytesOf(values)
	return &musterv1.ParametersChunk{
		Step:     step,
		Chunk:    uint32(chunk),
		Encoding: musterv1.Encoding_ENCODING_F32,
		Checksum: Checksum(payload),
		Payload:  payload,
	}
}

// Chunk is what the two kinds of chunk messages have in common.
type Chunk interface {
	GetEncoding() musterv1.Encoding
	GetChecksum() uint32
	GetPayload() []byte
}

// Decode checks a chunk in any encoding and writes its values to dst, whose length
// must be theirs. Errors wrap ErrMalformed; dst is then not changed.
func Decode(dst []float32, c Chunk) error {
	p := payloadOf(c)
	defer p.Free()
	if err := p.Check(len(dst), c.GetEncoding()); err != nil {
		return err
	}
	copy(dst, p.Floats())
	return nil
}
