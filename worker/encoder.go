package worker

import (
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Encoder makes payloads of the chunks of sums that go over a stream. One goroutine
// uses it at a time.
type Encoder struct {
	Layout   *params.Layout
	Encoding musterv1.Encoding // ENCODING_BF16 of sums that are such; 0: nothing is encoded

	packed    []float32 // a chunk's live values
	residuals residuals // of what is sent in ENCODING_INT8
}

// Encode makes a payload of the live values of a chunk of a node's sum at a step. In
// int8, feedback adds what was cut off the node's sum of the step before: for sums
// that are sent step after step.
func (e *Encoder) Encode(step uint64, node params.Node, chunk int, sum []float32, feedback bool) *wire.Payload {
	n := e.Layout.Live(chunk)
	if e.Encoding <= musterv1.Encoding_ENCODING_F32 {
		payload := wire.NewPayload(n)
		e.Layout.Pack(payload.Floats(), sum, chunk)
		return payload
	}
	live := e.Layout.Chunk(chunk).Of(sum)
	if n < len(live) {
		if e.packed == nil {
			e.packed = make([]float32, params.ChunkValues)
		}
		live = e.Layout.Pack(e.packed, sum, chunk)
	}
	if e.Encoding == musterv1.Encoding_ENCODING_INT8 && feedback {
		return e.residuals.of(node, chunk, e.Layout.Chunks()).Encode(step, live)
	}
	return wire.Encode(e.Encoding, live)
}
