package bench

import (
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
)

// factors returns what stands for a chunk in place of a sum, nil: nothing; and whether it
// goes when the chunk is due: with the last of its chunks, which is the first of them in a
// step.
func (w *idle) factors(chunk int) (f *model.Factored, goes bool) {
	for i := range w.factored {
		f := &w.factored[i]
		if first, end := f.Chunks(); first <= chunk && chunk < end {
			return f, chunk == end-1
		}
	}
	return nil, false
}

// sendFactors sends those of all own shards, with values of the sums, which a worker's
// device would write.
func (w *idle) sendFactors(f *model.Factored) error {
	first, end := f.Chunks()
	for _, shard := range w.now.mine {
		values := wire.NewOperands(f.Values(w.images))
		for rest := values.Floats(); len(rest) > 0; {
			rest = rest[copy(rest, w.sums):]
		}
		m := wire.Request{Factors: wire.Factors{
			Step: w.now.step, Shard: uint32(shard), Tensor: uint32(f.Tensor), Images: uint32(w.images), Values: values,
			First: uint32(first), End: uint32(end),
		}}
		if err := w.stream.Send(&m); err != nil {
			return err
		}
	}
	return nil
}
