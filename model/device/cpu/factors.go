package cpu

import (
	"fmt"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// Factors of a fully connected layer's gradient are its activations and the
// gradients of its outputs, brought from lane blocks into rows, an image each.
// Their product has the bits of the layer's own sums, since those are the same
// chains. Where factors of products or sums are bfloat16s the chains are others,
// and nothing is handed out.

// handed says of which part of a layer's weights the factors are handed out.
type handed struct {
	part       int // number in Factors, plus one; 0: of none
	values     params.Range
	first, end int // rows that are all in the part: their sums are not computed
}

// room is where a span's factors are wanted: (images, in) and (images, out).
type room struct{ activations, deltas []float32 }

// takeFactors notes what is asked for with a batch; f may be nil.
func (p *plan) takeFactors(f *device.Factors) error {
	for _, l := range p.layers {
		if l, ok := l.(*matmul); ok {
			l.handed = handed{}
		}
	}
	if f == nil {
		return nil
	}
	for i, r := range f.Parts {
		l := p.denseOf(r)
		if l == nil || i > 0 && r.First < f.Parts[i-1].End || i > 0 && l == p.denseOf(f.Parts[i-1]) {
			return fmt.Errorf("part %d of the factors, values [%d, %d): want a part of the weights of one fully connected layer, one of each, ascending", i, r.First, r.End)
		}
		if p.bf16() || p.rounds() {
			continue
		}
		row := l.dw.dstRow
		l.handed = handed{part: i + 1, values: r, first: (r.First - l.weight.First + row - 1) / row, end: (r.End - l.weight.First) / row}
	}
	return nil
}

// denseOf returns the fully connected layer whose weights have all values of r, and
// r some; nil: none.
func (p *plan) denseOf(r params.Range) *matmul {
	for _, l := range p.layers {
		if l, ok := l.(*matmul); ok && l.dense && l.weight.First <= r.First && r.First < r.End && r.End <= l.weight.End {
			return l
		}
	}
	return nil
}

// without returns the pieces of a piece whose sums are computed.
func (h *handed) without(u piece) [2]piece {
	before, after := u, u
	before.rows = min(u.row+u.rows, h.first) - u.row
	after.row = max(u.row, h.end)
	after.rows = u.row + u.rows - after.row
	if h.first >= h.end { // not one whole row
		before.rows, after = u.rows, piece{}
	}
	return [2]piece{before, after}
}

// all tells whether no sum of the layer's weights is computed.
func (h *handed) all(l *matmul) bool { return h.part > 0 && h.first == 0 && h.end == l.out.C }

// summed returns the parameters whose sums are computed: weights before and behind
// what is handed out, and biases.
func (l *matmul) summed() [3]params.Range {
	if l.handed.part == 0 {
		return [3]params.Range{l.weight, l.bias}
	}
	return [3]params.Range{{First: l.weight.First, End: l.handed.values.First}, {First: l.handed.values.End, End: l.weight.End}, l.bias}
}

func (l *matmul) handOut(dy []float32) {
	if l.handed.part == 0 {
		return
	}
	f, part := l.p.batch.Factors, l.handed.part-1
	l.dw.dy, l.p.rooms = dy, l.p.rooms[:0]
	for _, s := range l.p.sums.spans {
		a, d := f.Room(part, s.images())
		l.p.rooms = append(l.p.rooms, room{a, d})
	}
	l.p.pool.run(l.p.blocks*(factorUnits(l.dw.source)+factorUnits(l.dw.outputs)), (*factorTask)(l))
	for _, s := range l.p.sums.spans {
		f.Done(part, s.images())
	}
	clear(l.p.rooms) // the caller's
}

func (s *span) images() device.ShardImages {
	return device.ShardImages{Shard: s.shard, Images: s.end - s.first}
}

// factorColumns is how many columns of a lane block's images a unit of work takes.
const factorColumns = 16 * lanes

func factorUnits(columns []int) int { return (len(columns) + factorColumns - 1) / factorColumns }

// factorTask brings some columns of the images of a lane block into rows.
type factorTask matmul

func (t *factorTask) do(thread, unit int) {
	l := (*matmul)(t)
	inputs := factorUnits(l.dw.source)
	units := inputs + factorUnits(l.dw.outputs)
	block, at := unit/units, unit%units
	src, columns, deltas := l.x[block*l.inSize:(block+1)*l.inSize], l.dw.source, false
	if at >= inputs {
		src, columns, deltas = l.dw.dy[block*l.outSize:(block+1)*l.outSize], l.dw.outputs, true
		at -= inputs
	}
	first, width := at*factorColumns, len(columns)
	columns = columns[first:min(first+factorColumns, width)]
	rows := l.p.scratch[thread]
	kernel.Transpose(rows, factorColumns, lanes, src, columns)
	for i, s := range l.p.sums.spans {
		dst := l.p.rooms[i].activations
		if deltas {
			dst = l.p.rooms[i].deltas
		}
		for image := max(s.first, block*lanes); image < min(s.end, (block+1)*lanes); image++ {
			copy(dst[(image-s.first)*width+first:], rows[image%lanes*factorColumns:][:len(columns)])
		}
	}
}
