package model

import (
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// Factored is the weights of a fully connected layer whose gradient is fewer values as
// factors than as a sum: of a shard's images, what went into the layer and the
// gradients of what came out, whose product it is (device.Factors).
type Factored struct {
	Tensor  int          // number in the Layout
	Weight  params.Range // (Out, In)
	Out, In int
}

// Values returns the number of values of the factors of so many images: In and Out of each.
func (f *Factored) Values(images int) int { return images * (f.In + f.Out) }

// Chunks returns the chunks [first, end) that the factors stand for: those that lie
// wholly within the weights. At their edges chunks have other values too, and travel
// as sums.
func (f *Factored) Chunks() (first, end int) {
	return (f.Weight.First + params.ChunkValues - 1) / params.ChunkValues, f.Weight.End / params.ChunkValues
}

// Whole returns the values of those chunks.
func (f *Factored) Whole() params.Range {
	first, end := f.Chunks()
	return params.Range{First: first * params.ChunkValues, End: end * params.ChunkValues}
}

// Factored returns, in the order of the Layout, the weights whose gradients travel as
// factors in steps of so many images over all shards: those where the factors of a
// whole step are fewer values than the chunks that they stand for. So is what all
// workers send together, however many they are, less than one sum.
func (n *Network) Factored(batch int) []Factored {
	var all []Factored
	for _, op := range n.Graph.Ops {
		op, ok := op.(*device.Dense)
		if !ok {
			continue
		}
		f := Factored{Tensor: n.tensorOf(op.Weight), Weight: op.Weight, Out: op.Out.Values(), In: op.In.Values()}
		first, end := f.Chunks()
		if first < end && f.Values(batch) < (end-first)*params.ChunkValues && n.Layout.Tensors()[f.Tensor].Zero == nil {
			all = append(all, f)
		}
	}
	return all
}

// tensorOf returns the number of the tensor whose range is r.
func (n *Network) tensorOf(r params.Range) int {
	for i, t := range n.Layout.Tensors() {
		if t.Range == r {
			return i
		}
	}
	panic("model: an operation's weights are no tensor of the layout")
}
