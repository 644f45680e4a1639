package paramserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// In a job with the encoding factors, a worker may send the gradient of a fully
// connected layer, of one shard, as the factors of which it is the product. They are
// the shard's contribution to each chunk that they stand for, and count by these: the
// loop decides on every chunk by itself, as if its values had come, and the chunk's
// lane forms them.

// checkFactors refuses what does not go with the encoding factors.
func checkFactors(j *musterv1.JobSpec) error {
	if j.Encoding != wire.FACTORS.String() {
		return nil
	}
	if mode, err := wire.ParseSync(j.Sync); err == nil && mode.Relaxed {
		return fmt.Errorf("encoding factors does not go with sync %v: products are parts of the sum of a step; sync is allowed", mode)
	}
	if p, err := device.ParsePrecision(j.Precision); err == nil && p != device.F32 {
		return fmt.Errorf("encoding factors does not go with precision %v: the server forms products of float32s; %v is allowed", p, device.F32)
	}
	return nil
}

// takesFactors notes which tensors may come as factors.
func (s *Server) takesFactors() {
	if s.encoding != wire.FACTORS {
		return
	}
	if s.factored = s.network.Factored(int(s.job.Batch)); len(s.factored) == 0 {
		s.cfg.Log.Warn("no layer's factors are fewer bytes than its gradient: all gradients are exchanged as float32", "network", s.job.Network, "batch", s.job.Batch)
	}
}

// factoredAs returns what factors of a tensor stand for; nil where there are none in this job.
func (s *Server) factoredAs(tensor uint32) *model.Factored {
	for i := range s.factored {
		if f := &s.factored[i]; f.Tensor == int(tensor) {
			return f
		}
	}
	return nil
}

// receiveFactors takes a contribution over from a worker.
func (ses *session) receiveFactors(ctx context.Context, f wire.Factors) error {
	s := ses.server
	s.traffic.gradients.Add(uint64(f.Values.Len()))
	chunk := 0
	refuse := func(reason musterv1.RefusalReason, detail string) error {
		f.Values.Free()
		return s.do(ctx, func() { s.refuse(ses, reason, params.Step(f.Step), params.Leaf(int(f.Shard)), chunk, detail) })
	}
	of := s.factoredAs(f.Tensor)
	if of == nil {
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, fmt.Sprintf("tensor %d does not come as factors in this job", f.Tensor))
	}
	chunk, _ = of.Chunks()
	if err := f.Values.Check(of.Values(int(f.Images))); err != nil {
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, err.Error())
	}
	if !kernel.Finite(f.Values.Floats()) {
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE, "a value of the factors is NaN or infinite")
	}
	if s.part != nil {
		if err := s.part.await(ctx, params.Step(f.Step)); err != nil {
			f.Values.Free()
			return err
		}
	}
	var bad error
	if err := s.do(ctx, func() { bad = s.offerFactors(ses, &f, of) }); err != nil {
		f.Values.Free()
		return err
	}
	if bad != nil {
		return refuse(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, bad.Error())
	}
	f.Values.Free()
	return nil
}

// offerFactors decides on what factors contribute, chunk by chunk. What is counted
// shares them. It fails where they are of another number of images than the shard has.
func (s *Server) offerFactors(ses *session, f *wire.Factors, of *model.Factored) error {
	if s.ended() {
		return nil
	}
	step, leaf := params.Step(f.Step), params.Leaf(int(f.Shard))
	if r := s.round; r != nil && step == r.step && leaf.Valid(r.shards) && s.kind == musterv1.WorkKind_WORK_KIND_GRADIENT {
		if n := r.images[f.Shard]; n != int(f.Images) {
			return fmt.Errorf("factors of %d images, the shard has %d in this step", f.Images, n)
		}
	} else if f.Images == 0 {
		return errors.New("factors of no images")
	}
	p := &product{of: of, images: int(f.Images), factors: f.Values}
	first, end := of.Chunks()
	for chunk := max(first, s.own.first); chunk < min(end, s.own.end); chunk++ { // others go to other parts
		o := s.decide(step, leaf, chunk)
		if o.Verdict == Counted {
			f.Values.Share(1)
			s.lanes.submit(task{chunk: chunk, outcome: o, product: p, scale: s.scale, rate: s.rate})
			continue
		}
		s.reject(ses, o.Verdict, step, leaf, chunk)
		if o.Verdict != Repeated {
			return nil // so it is with all its chunks, and is said once
		}
	}
	return nil
}

// product is a shard's gradient of a tensor, to be formed from its factors chunk by
// chunk, in several lanes.
type product struct {
	of      *model.Factored
	images  int
	factors *wire.Operands // of which each chunk that is to be formed is an owner
}

// form returns the values of a chunk, and gives up its part of the factors.
func (p *product) form(chunk int) *wire.Payload {
	values := wire.NewPayload(params.ChunkValues)
	multiply(values.Floats(), chunk*params.ChunkValues-p.of.Weight.First, p.factors.Floats(), p.images, p.of.In, p.of.Out)
	p.factors.Free()
	return values
}

// multiply writes to dst the values from first on of the matrix (out, in)
//
//	product[k,i] = sum over n, ascending from +0, of deltas[n,k] * activations[n,i]
//
// each a chain of fused multiply-adds: the bits of a device's own sums. factors are
// activations (images, in), then deltas (images, out), with room for kernel.Lanes
// values behind them.
func multiply(dst []float32, first int, factors []float32, images, in, out int) {
	m := multiplication{images: images, in: in, out: out, activations: factors[:images*in+min(kernel.Lanes, cap(factors)-images*in)], deltas: factors[images*in : images*(in+out)]}
	for len(dst) > 0 {
		row, column := first/in, first%in
		rows, width := 1, min(in-column, len(dst))
		if width == in {
			rows = len(dst) / in
		}
		for c := 0; c < width; {
			c += m.strip(dst[c:], row, column+c, rows, width-c)
		}
		dst, first = dst[rows*width:], first+rows*width
	}
}

type multiplication struct {
	images, in, out     int
	activations, deltas []float32
}

// strip writes, of some rows, as many columns as a tile has, or the width if that is
// less, and returns that. The rows of dst lie as those of the whole matrix.
func (m *multiplication) strip(dst []float32, row, column, rows, width int) int {
	shape := kernel.Tile{
		Columns: max(1, min(width/kernel.Lanes, kernel.TileColumns)), RowC: m.in, ColumnC: kernel.Lanes,
		RowA: 1, StepA: m.out, StepB: m.in, ColumnB: kernel.Lanes,
	}
	var narrow [kernel.TileRows * kernel.Lanes]float32
	if width < kernel.Lanes {
		shape.RowC = kernel.Lanes
	}
	blocks := [1]kernel.Block{{K: m.images}}
	for r := 0; r < rows; r += shape.Rows {
		shape.Rows = min(kernel.TileRows, rows-r)
		if width >= kernel.Lanes {
			kernel.ChainZero(dst[r*m.in:], m.deltas[row+r:], m.activations[column:], &shape, blocks[:])
			continue
		}
		kernel.ChainZero(narrow[:], m.deltas[row+r:], m.activations[column:], &shape, blocks[:])
		for i := range shape.Rows {
			copy(dst[(r+i)*m.in:][:width], narrow[i*kernel.Lanes:])
		}
	}
	return min(width, shape.Columns*kernel.Lanes)
}
