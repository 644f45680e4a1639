package worker

import (
	"fmt"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// held is what a worker holds of the parameters: each chunk at a step of its
// own while a new step comes in. The loop alone touches it.
//
// The server sends a chunk of the next step as soon as it is made. One that
// comes before the work of this step has been computed waits until it has.
type held struct {
	layout   *params.Layout
	encoding musterv1.Encoding // in which chunks come
	shared   bool              // chunks are in place when they come
	steps    []uint64          // by chunk: the step at which the plan has it, plus one; 0: none
	early    []wire.Parameters // by chunk: what waits; without a payload: nothing
}

func newHeld(layout *params.Layout, encoding musterv1.Encoding) *held {
	return &held{layout: layout, encoding: encoding, steps: make([]uint64, layout.Chunks()), early: make([]wire.Parameters, layout.Chunks())}
}

// at tells whether all chunks are of a step.
func (h *held) at(step uint64) bool {
	for _, s := range h.steps {
		if s != step+1 {
			return false
		}
	}
	return true
}

// has tells whether all chunks that have values of r are of a step.
func (h *held) has(step uint64, r params.Range) bool {
	for chunk := r.First / params.ChunkValues; chunk*params.ChunkValues < r.End; chunk++ {
		if h.steps[chunk] != step+1 {
			return false
		}
	}
	return true
}

// whole is the step of all chunks, plus one; 0 where they are not of one step.
func (h *held) whole() uint64 {
	if first := h.steps[0]; first > 0 && h.at(first-1) {
		return first
	}
	return 0
}

// check says what is wrong with a chunk that has come.
func (h *held) check(c *wire.Parameters) error {
	if int(c.Chunk) >= h.layout.Chunks() {
		return fmt.Errorf("parameters: chunk %d of %d", c.Chunk, h.layout.Chunks())
	}
	if err := c.Payload.Check(h.layout.Chunk(int(c.Chunk)).Len(), h.encoding); err != nil {
		return fmt.Errorf("parameters of step %d, chunk %d: %w", c.Step, c.Chunk, err)
	}
	return nil
}

// begins makes ready for a stream over which memory is shared or not.
func (h *held) begins(shared *wire.Shared) {
	h.forget()
	if h.shared = shared != nil; h.shared {
		clear(h.steps) // the server will tell what its vectors hold
	}
}

// expect forgets what the plan has: it is to come anew.
func (h *held) expect() {
	h.forget()
	clear(h.steps)
}

// ends forgets what was in shared memory, and everything where a step's parameters
// are not the same bits in every life of the server.
func (h *held) ends(sameBits bool) {
	h.forget()
	if h.shared || !sameBits {
		clear(h.steps)
	}
	h.shared = false
}

// load brings a chunk into the plan, unless it is there, in shared memory. It
// leaves the payload to the caller, and frees what waited for the chunk: the
// server sent this one later.
func (h *held) load(plan device.Plan, c *wire.Parameters) {
	h.drop(int(c.Chunk))
	r := h.layout.Chunk(int(c.Chunk))
	if !h.shared {
		copy(r.Of(plan.Parameters()), c.Payload.Floats())
	}
	plan.Loaded(r)
	h.steps[c.Chunk] = c.Step + 1
}

// keep takes over a chunk, payload and all, for loadEarly.
func (h *held) keep(c *wire.Parameters) {
	h.drop(int(c.Chunk))
	h.early[c.Chunk] = *c
	c.Payload = nil
}

// loadEarly brings into the plan what has waited.
func (h *held) loadEarly(plan device.Plan) {
	for chunk := range h.early {
		if c := h.early[chunk]; c.Payload != nil {
			h.early[chunk].Payload = nil
			h.load(plan, &c)
			c.Payload.Free()
		}
	}
}

func (h *held) drop(chunk int) {
	if p := h.early[chunk].Payload; p != nil {
		h.early[chunk].Payload = nil
		p.Free()
	}
}

// forget frees all that waits.
func (h *held) forget() {
	for chunk := range h.early {
		h.drop(chunk)
	}
}
