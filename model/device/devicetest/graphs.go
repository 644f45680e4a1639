package devicetest

import (
	"fmt"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// chain builds a graph, one operation after the other.
type chain struct {
	graph   device.Graph
	shape   device.Shape
	dropped uint32
	any     bool // an operation has parameters
}

func from(c, h, w int) *chain {
	s := device.Shape{C: c, H: h, W: w}
	return &chain{graph: device.Graph{Input: s}, shape: s}
}

func (b *chain) place(kind string, out device.Shape) device.Place {
	p := device.Place{Name: fmt.Sprintf("%s%d", kind, len(b.graph.Ops)), In: b.shape, Out: out}
	b.shape = out
	return p
}

func (b *chain) take(n int) params.Range {
	r := params.Range{First: b.graph.Parameters, End: b.graph.Parameters + n}
	b.graph.Parameters = r.End
	return r
}

func (b *chain) add(op device.Op) *chain {
	b.graph.Ops = append(b.graph.Ops, op)
	return b
}

// convTo adds a convolution whose output has the given extents.
func (b *chain) convTo(k, h, w, kernel, stride, top, left, groups int) *chain {
	c := b.shape.C
	op := &device.Conv{
		Place:  b.place("conv", device.Shape{C: k, H: h, W: w}),
		Kernel: kernel, Stride: stride, PadTop: top, PadLeft: left, Groups: groups,
		SkipInputGradient: !b.any,
	}
	op.Weight, op.Bias = b.take(k*(c/groups)*kernel*kernel), b.take(k)
	b.any = true
	return b.add(op)
}

// conv adds a convolution with equal padding on all sides.
func (b *chain) conv(k, kernel, stride, pad, groups int) *chain {
	h, w := (b.shape.H+2*pad-kernel)/stride+1, (b.shape.W+2*pad-kernel)/stride+1
	return b.convTo(k, h, w, kernel, stride, pad, pad, groups)
}

func (b *chain) dense(k int) *chain {
	n := b.shape.Values()
	op := &device.Dense{Place: b.place("dense", device.Shape{C: k, H: 1, W: 1}), SkipInputGradient: !b.any}
	op.Weight, op.Bias = b.take(k*n), b.take(k)
	b.any = true
	return b.add(op)
}

// pool adds a pooling whose output has the given extents.
func (b *chain) pool(kind device.PoolKind, h, w, kernel, stride, top, left int) *chain {
	return b.add(&device.Pool{
		Place: b.place("pool", device.Shape{C: b.shape.C, H: h, W: w}),
		Kind:  kind, Kernel: kernel, Stride: stride, PadTop: top, PadLeft: left,
	})
}

func (b *chain) lrn(size int, k, alpha, beta float32) *chain {
	return b.add(&device.LRN{Place: b.place("lrn", b.shape), Size: size, K: k, Alpha: alpha, Beta: beta})
}

func (b *chain) dropout(p float32, inverted bool) *chain {
	op := &device.Dropout{Place: b.place("drop", b.shape), P: p, Inverted: inverted, Layer: b.dropped}
	b.dropped++
	return b.add(op)
}

func (b *chain) act(kind device.ActivationKind, slope float32) *chain {
	return b.add(&device.Activation{Place: b.place("act", b.shape), Kind: kind, Slope: slope})
}

func (b *chain) relu() *chain { return b.act(device.ReLU, 0) }

// done ends the graph: the shape so far is that of the logits.
func (b *chain) done() *device.Graph {
	b.graph.Classes = b.shape.C
	g := b.graph
	return &g
}

// graphCase is a graph to compare with the reference.
type graphCase struct {
	name  string
	graph *device.Graph
}

// cases returns graphs for every kind of operation. Each has a layer with
// parameters below what it is about, so that gradients pass through that.
func cases() []graphCase {
	return []graphCase{
		{"dense", from(7, 1, 1).dense(13).dense(5).done()},
		{"dense over a map", from(3, 4, 5).conv(4, 1, 1, 0, 1).dense(9).relu().dense(5).done()},
		{"dense of many inputs", from(3, 1, 1).dense(5).dense(800).dense(2).done()},
		{"conv 3x3", from(3, 5, 4).conv(8, 3, 1, 1, 1).relu().conv(7, 3, 1, 1, 1).dense(4).done()},
		{"conv 3x3 of many channels", from(2, 3, 4).conv(18, 3, 1, 1, 1).conv(20, 3, 1, 1, 1).dense(4).done()},
		{"conv 5x5 on 3x3", from(2, 3, 3).conv(17, 1, 1, 0, 1).conv(6, 5, 1, 2, 1).dense(3).done()},
		{"conv 3x3 on 1x1", from(5, 1, 1).conv(17, 3, 1, 1, 1).conv(5, 3, 1, 1, 1).conv(4, 3, 1, 1, 1).done()},
		{"conv 11x11 stride 4", from(3, 12, 12).conv(4, 11, 4, 1, 1).relu().dense(3).done()},
		{"conv stride 2 asymmetric", from(2, 6, 7).conv(3, 1, 1, 0, 1).convTo(8, 3, 4, 3, 2, 0, 1, 1).dense(3).done()},
		{"conv stride 2 asymmetric of many channels", from(2, 6, 7).conv(16, 1, 1, 0, 1).convTo(8, 3, 4, 4, 2, 1, 2, 1).dense(3).done()},
		{"conv stride over kernel", from(2, 8, 8).conv(3, 1, 1, 0, 1).conv(5, 2, 3, 0, 1).dense(3).done()},
		{"conv groups", from(6, 4, 4).conv(6, 1, 1, 0, 3).conv(8, 3, 1, 1, 2).dense(3).done()},
		{"conv groups of many channels", from(4, 3, 3).conv(34, 1, 1, 0, 2).conv(14, 3, 1, 1, 2).dense(3).done()},
		{"conv padding over image", from(2, 2, 2).conv(3, 1, 1, 0, 1).convTo(4, 4, 4, 7, 1, 4, 4, 1).dense(3).done()},
		{"max pool rounding up", from(2, 6, 6).conv(5, 3, 1, 1, 1).pool(device.MaxPool, 3, 3, 3, 2, 0, 0).dense(3).done()},
		{"max pool rounding down", from(2, 6, 6).conv(5, 3, 1, 1, 1).pool(device.MaxPool, 2, 2, 3, 2, 0, 0).dense(3).done()},
		{"max pool padded", from(2, 5, 4).conv(17, 3, 1, 1, 1).pool(device.MaxPool, 3, 3, 3, 2, 1, 1).dense(3).done()},
		{"max pool of one", from(2, 1, 1).conv(5, 1, 1, 0, 1).pool(device.MaxPool, 1, 1, 3, 2, 0, 0).dense(3).done()},
		{"average pool rounding up", from(2, 6, 5).conv(18, 3, 1, 1, 1).pool(device.AveragePool, 3, 2, 3, 2, 0, 0).dense(3).done()},
		{"average pool padded", from(2, 5, 4).conv(5, 3, 1, 1, 1).pool(device.AveragePool, 3, 3, 3, 2, 1, 1).dense(3).done()},
		{"lrn odd", from(3, 2, 3).conv(9, 1, 1, 0, 1).lrn(5, 2, 0.3, 0.75).dense(3).done()},
		{"lrn even", from(3, 2, 3).conv(9, 1, 1, 0, 1).lrn(4, 1, 0.5, 0.6).dense(3).done()},
		{"lrn of one", from(3, 2, 3).conv(3, 1, 1, 0, 1).lrn(1, 1, 0.5, 1.25).dense(3).done()},
		{"lrn wider than channels", from(3, 2, 3).conv(3, 1, 1, 0, 1).lrn(9, 1, 0.5, 0.75).relu().dense(3).done()},
		{"dropout", from(4, 2, 3).conv(7, 1, 1, 0, 1).relu().dropout(0.5, false).dense(11).relu().dropout(0.3, false).dense(3).done()},
		{"dropout inverted", from(4, 2, 3).conv(7, 1, 1, 0, 1).relu().dropout(0.5, true).dense(11).relu().dropout(0.3, true).dense(3).done()},
		{"dropout at once", from(4, 2, 3).dropout(0.25, false).dense(3).done()},
		{"relu", from(4, 2, 3).conv(7, 1, 1, 0, 1).act(device.ReLU, 0).dense(3).done()},
		{"leaky relu", from(4, 2, 3).conv(7, 1, 1, 0, 1).act(device.LeakyReLU, 0.1).dense(3).done()},
		{"leaky relu falling", from(4, 2, 3).conv(7, 1, 1, 0, 1).act(device.LeakyReLU, -0.2).dense(3).done()},
		{"softplus", from(4, 2, 3).conv(7, 1, 1, 0, 1).act(device.Softplus, 0).dropout(0.4, false).dense(3).done()},
		{"whole", whole()},
	}
}

// whole returns a small network with all that AlexNet has.
func whole() *device.Graph {
	return from(3, 9, 9).
		conv(8, 5, 2, 1, 1).relu().lrn(5, 1, 0.2, 0.75).pool(device.MaxPool, 2, 2, 3, 2, 0, 0).
		conv(18, 3, 1, 1, 2).relu().lrn(3, 2, 0.1, 0.75).pool(device.MaxPool, 1, 1, 3, 2, 0, 0).
		conv(20, 3, 1, 1, 1).relu().
		dense(23).relu().dropout(0.5, false).
		dense(10).done()
}
