package model

import "github.com/muster-train/muster/model/device"

// LayerInfo is one row of a network's table. Counts are for one image.
type LayerInfo struct {
	Name, Kind, Detail string
	Output             device.Shape
	Parameters         int
	Forward            FLOPs // of the forward pass
	Backward           FLOPs // gradients of weights and, but for the first such layer, of the input
	ActivationBytes    int   // of the output, as float32
}

// Summary returns a row for each layer, in forward order.
func (n *Network) Summary() []LayerInfo {
	var rows []LayerInfo
	for i, l := range n.Layers {
		op := n.Graph.Ops[i]
		in, out := op.Shapes()
		row := LayerInfo{
			Name: l.Label(), Kind: l.Kind(), Detail: l.Detail(),
			Output:          out,
			Forward:         l.FLOPs(in, out),
			ActivationBytes: 4 * out.Values(),
		}
		for _, p := range l.Parameters(in) {
			values := 1
			for _, d := range p.Tensor.Shape {
				values *= d
			}
			row.Parameters += values
		}
		row.Backward = row.Forward.Times(2)
		if skipsInputGradient(op) {
			row.Backward = row.Forward
		}
		rows = append(rows, row)
	}
	return rows
}

func skipsInputGradient(op device.Op) bool {
	switch op := op.(type) {
	case *device.Conv:
		return op.SkipInputGradient
	case *device.Dense:
		return op.SkipInputGradient
	}
	return false
}

// Total returns the sums over Summary's rows, with the network's name, title
// and last output.
func (n *Network) Total() LayerInfo {
	t := LayerInfo{Name: n.Name, Kind: "network", Detail: n.Title}
	for _, row := range n.Summary() {
		t.Output = row.Output
		t.Parameters += row.Parameters
		t.Forward = t.Forward.Plus(row.Forward)
		t.Backward = t.Backward.Plus(row.Backward)
		t.ActivationBytes += row.ActivationBytes
	}
	return t
}
