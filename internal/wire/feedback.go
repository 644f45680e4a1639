package wire

import (
	"math"

	"github.com/muster-train/muster/internal/kernel"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Feedback encodes the values of one chunk, step after step, in ENCODING_INT8, and
// adds to each step's what rounding has cut off the one before:
//
//	x = values + residual,  sent: x in int8,  residual = x - what was sent
//
// So the sum of what is sent stays within one residual of the sum of the values. The
// values of a step that is encoded again are taken to be in place of those before,
// which did not count: they get the same residual added. Where something is not
// finite, the residual of its block stays as it was.
//
// The zero value is ready, and has no residual. It is not safe for concurrent use.
type Feedback struct {
	step          uint64 // encoded last, plus one; 0: none
	before, after []float32
}

// Encode makes a payload of the values of a step, as many as ever.
func (f *Feedback) Encode(step uint64, values []float32) *Payload {
	if f.step == 0 {
		f.before, f.after = make([]float32, len(values)), make([]float32, len(values))
	}
	if f.step != step+1 {
		f.step = step + 1
		f.before, f.after = f.after, f.before
	}
	kernel.Add(f.after, values, f.before)
	p := Encode(musterv1.Encoding_ENCODING_INT8, f.after)
	q, scales := p.int8s()

	// What is sent, times -1: scales of another sign are as exact.
	var against [ChunkBytes / 4 / kernel.Int8Block]float32
	for i, s := range scales {
		against[i] = -s
	}
	sent := NewPayload(len(values))
	kernel.FromInt8(sent.Floats(), q, against[:len(scales)])
	kernel.Add(f.after, f.after, sent.Floats())
	sent.Free()
	for i, s := range scales {
		if math.IsNaN(float64(s)) {
			first, end := i*kernel.Int8Block, min((i+1)*kernel.Int8Block, len(values))
			copy(f.after[first:end], f.before[first:end])
		}
	}
	return p
}
