package wire

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/muster-train/muster/internal/kernel"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Encoding is how a job's gradients and parameters are exchanged: what becomes of
// their values before they travel.
type Encoding int

// The encodings.
const (
	// F32 changes nothing.
	F32 Encoding = iota
	// BF16 rounds parameters, and every node of the tree over shards, to bfloat16.
	// Who forms a sum rounds it, so that chunks travel as they are.
	BF16
	// INT8 makes whole numbers of gradients that go over a connection, with a scale
	// for each kernel.Int8Block of them; parameters are BF16's.
	INT8
	// FACTORS sends what the gradients of fully connected layers are the products of,
	// over a connection and where that is less, and F32's chunks of all else: with
	// F32's bits.
	FACTORS
)

// Encodings are the names that ParseEncoding takes.
var Encodings = []string{F32: "f32", BF16: "bf16", INT8: "int8", FACTORS: "factors"}

// String returns the name that ParseEncoding takes.
func (e Encoding) String() string {
	if e < 0 || int(e) >= len(Encodings) {
		return fmt.Sprintf("encoding %d", int(e))
	}
	return Encodings[e]
}

// ParseEncoding returns the encoding of a name: f32, which may be left empty,
// bf16, int8 or factors.
func ParseEncoding(name string) (Encoding, error) {
	if name == "" {
		return F32, nil
	}
	for e, known := range Encodings {
		if name == known {
			return Encoding(e), nil
		}
	}
	return 0, fmt.Errorf("unknown encoding %q; want one of %s", name, strings.Join(Encodings, ", "))
}

// Gradients is the encoding of the job's chunks of gradients.
func (e Encoding) Gradients() musterv1.Encoding {
	switch e {
	case BF16:
		return musterv1.Encoding_ENCODING_BF16
	case INT8:
		return musterv1.Encoding_ENCODING_INT8
	}
	return musterv1.Encoding_ENCODING_F32
}

// Parameters is the encoding of the job's chunks of parameters.
func (e Encoding) Parameters() musterv1.Encoding {
	if e == BF16 || e == INT8 {
		return musterv1.Encoding_ENCODING_BF16
	}
	return musterv1.Encoding_ENCODING_F32
}

// spoken are the encodings of chunks that this package writes and reads.
var spoken = [...]musterv1.Encoding{musterv1.Encoding_ENCODING_F32, musterv1.Encoding_ENCODING_BF16, musterv1.Encoding_ENCODING_INT8}

// Spoken lists the encodings of chunks that there are, for JoinRequest.
func Spoken() []musterv1.Encoding { return slices.Clone(spoken[:]) }

// scaleBytes is the length of a block's scale in int8.
const scaleBytes = 4

// PayloadBytes is the length of the payload of n values.
func PayloadBytes(e musterv1.Encoding, n int) int {
	switch e {
	case musterv1.Encoding_ENCODING_BF16:
		return 2 * n
	case musterv1.Encoding_ENCODING_INT8:
		return n + scaleBytes*blocks(n)
	}
	return 4 * n
}

// valuesIn is how many values a payload of a length has; false where none has it,
// or no chunk so many.
func valuesIn(e musterv1.Encoding, bytes int) (n int, ok bool) {
	switch e {
	case musterv1.Encoding_ENCODING_BF16:
		n = bytes / 2
	case musterv1.Encoding_ENCODING_INT8:
		const block = kernel.Int8Block + scaleBytes
		n = max(0, bytes-scaleBytes*((bytes+block-1)/block))
	default:
		n = bytes / 4
	}
	return n, PayloadBytes(e, n) == bytes && n <= ChunkBytes/4
}

// blocks is the number of scales of n values in int8.
func blocks(n int) int { return (n + kernel.Int8Block - 1) / kernel.Int8Block }

// Encode makes a payload of values as they go over a connection. Bfloat16s stay
// what they are in ENCODING_BF16, other values are rounded; Feedback makes up for
// what ENCODING_INT8 changes.
func Encode(e musterv1.Encoding, values []float32) *Payload {
	p := newPayload(PayloadBytes(e, len(values)))
	p.encoding = e
	switch e {
	case musterv1.Encoding_ENCODING_BF16:
		kernel.ToBfloat16(p.bfloat16s(), values)
	case musterv1.Encoding_ENCODING_INT8:
		q, scales := p.int8s()
		kernel.ToInt8(q, scales, values)
	default:
		copy(p.Floats(), values)
	}
	return p
}

// Decoded is a payload as it comes out of a connection, for ends that have none
// between them: float32s of what was encoded. It takes p over.
func Decoded(p *Payload) *Payload {
	if p.encoding == musterv1.Encoding_ENCODING_F32 {
		return p
	}
	n, _ := valuesIn(p.encoding, len(p.bytes)) // Encode made it, so it has some
	p.came = p.encoding
	return decode(p, n)
}

// decode makes float32s of a payload that has come, which it takes over. There are
// as many values as valuesIn says.
func decode(p *Payload, n int) *Payload {
	if p.encoding == musterv1.Encoding_ENCODING_F32 {
		return p
	}
	values := NewPayload(n)
	values.came = p.came
	if p.encoding == musterv1.Encoding_ENCODING_BF16 {
		kernel.FromBfloat16(values.Floats(), p.bfloat16s())
	} else {
		q, scales := p.int8s()
		kernel.FromInt8(values.Floats(), q, scales)
	}
	p.Free()
	return values
}

// bfloat16s is a view of a payload's values in bf16.
func (p *Payload) bfloat16s() []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(p.memory)), len(p.bytes)/2)
}

// int8s is a view of a payload's values in int8, and of their scales.
func (p *Payload) int8s() (q []int8, scales []float32) {
	n, _ := valuesIn(musterv1.Encoding_ENCODING_INT8, len(p.bytes))
	scales = unsafe.Slice((*float32)(unsafe.Pointer(p.memory)), blocks(n))
	return unsafe.Slice((*int8)(unsafe.Pointer(&p.memory[scaleBytes*len(scales)])), n), scales
}
