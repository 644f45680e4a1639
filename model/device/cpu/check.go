package cpu

import (
	"fmt"
	"slices"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// Bounds that keep sizes far from overflow.
const (
	maxValues = 1 << 28 // of one image's activations
	maxImages = 1 << 20 // of one batch
	maxNodes  = 1 << 16 // of one batch
	maxKernel = 1 << 12 // height and width of a window
)

// checkGraph returns an error where g is not a chain of sound operations, where
// its ranges do not cover the vector exactly, or where o is out of bounds.
func checkGraph(g *device.Graph, o device.Options) error {
	if o.Images < 1 || o.Images > maxImages {
		return fmt.Errorf("%d images a batch: want 1 to %d", o.Images, maxImages)
	}
	if o.Nodes < 0 || o.Nodes > maxNodes {
		return fmt.Errorf("%d nodes a batch: want 0 to %d", o.Nodes, maxNodes)
	}
	if o.Precision != device.F32 && o.Precision != device.BF16 {
		return fmt.Errorf("%v: want %v or %v", o.Precision, device.F32, device.BF16)
	}
	if o.Sums != device.F32 && o.Sums != device.BF16 {
		return fmt.Errorf("sums of %v: want %v or %v", o.Sums, device.F32, device.BF16)
	}
	if len(g.Ops) == 0 {
		return fmt.Errorf("the graph has no operations")
	}
	if err := checkShape(g.Input); err != nil {
		return fmt.Errorf("input: %w", err)
	}
	shape := g.Input
	var ranges []params.Range
	for i, op := range g.Ops {
		if op == nil {
			return fmt.Errorf("operation %d is missing", i)
		}
		in, out := op.Shapes()
		if in != shape {
			return fmt.Errorf("operation %d, %s: takes %v, but %v comes before it", i, op.Label(), in, shape)
		}
		if err := checkShape(out); err != nil {
			return fmt.Errorf("operation %d, %s: %w", i, op.Label(), err)
		}
		own, err := checkOp(op, in, out, len(ranges) > 0)
		if err != nil {
			return fmt.Errorf("operation %d, %s: %w", i, op.Label(), err)
		}
		ranges = append(ranges, own...)
		shape = out
	}
	if g.Classes < 1 || shape != (device.Shape{C: g.Classes, H: 1, W: 1}) {
		return fmt.Errorf("the last operation gives %v: want one logit for each of %d classes", shape, g.Classes)
	}
	return checkCover(ranges, g.Parameters)
}

func checkShape(s device.Shape) error {
	if s.C < 1 || s.H < 1 || s.W < 1 || s.C > maxValues || s.H > maxValues || s.W > maxValues ||
		s.C*s.H > maxValues || s.C*s.H*s.W > maxValues {
		return fmt.Errorf("shape %v: want positive extents and at most %d values", s, maxValues)
	}
	return nil
}

// checkOp returns the ranges of op's parameters. later says whether an earlier
// operation has parameters.
func checkOp(op device.Op, in, out device.Shape, later bool) ([]params.Range, error) {
	switch op := op.(type) {
	case *device.Conv:
		if err := checkWindow(op.Kernel, op.Stride, op.PadTop, op.PadLeft); err != nil {
			return nil, err
		}
		if op.Groups < 1 || in.C%op.Groups != 0 || out.C%op.Groups != 0 {
			return nil, fmt.Errorf("%d groups: want a divisor of %d and %d channels", op.Groups, in.C, out.C)
		}
		weights := out.C * (in.C / op.Groups) * op.Kernel * op.Kernel
		return checkParameters(op.Weight, op.Bias, weights, out.C, op.SkipInputGradient && later)
	case *device.Dense:
		if out.H != 1 || out.W != 1 {
			return nil, fmt.Errorf("output %v: want height and width 1", out)
		}
		return checkParameters(op.Weight, op.Bias, out.C*in.Values(), out.C, op.SkipInputGradient && later)
	case *device.Pool:
		return nil, checkPool(op)
	case *device.LRN:
		if op.Size < 1 || in != out {
			return nil, fmt.Errorf("size %d, %v to %v: want a positive size and equal shapes", op.Size, in, out)
		}
	case *device.Dropout:
		if !(op.P >= 0 && op.P < 1) || op.Layer > 0xffff || in != out {
			return nil, fmt.Errorf("probability %v, layer %d, %v to %v: want a probability in [0, 1), a layer below 65536 and equal shapes", op.P, op.Layer, in, out)
		}
	case *device.Activation:
		if op.Kind < device.ReLU || op.Kind > device.Softplus || in != out {
			return nil, fmt.Errorf("activation %d, %v to %v: want a known one and equal shapes", op.Kind, in, out)
		}
	default:
		return nil, fmt.Errorf("unknown kind of operation %T", op)
	}
	return nil, nil
}

func checkWindow(kernel, stride, padTop, padLeft int) error {
	if kernel < 1 || kernel > maxKernel || stride < 1 || stride > maxKernel {
		return fmt.Errorf("kernel %d, stride %d: want 1 to %d", kernel, stride, maxKernel)
	}
	if padTop < 0 || padLeft < 0 || padTop > maxKernel || padLeft > maxKernel {
		return fmt.Errorf("padding %d, %d: want 0 to %d", padTop, padLeft, maxKernel)
	}
	return nil
}

func checkPool(op *device.Pool) error {
	if err := checkWindow(op.Kernel, op.Stride, op.PadTop, op.PadLeft); err != nil {
		return err
	}
	if op.Kind != device.MaxPool && op.Kind != device.AveragePool {
		return fmt.Errorf("unknown kind %d of pooling", op.Kind)
	}
	if op.In.C != op.Out.C {
		return fmt.Errorf("%d channels become %d", op.In.C, op.Out.C)
	}
	for _, axis := range []struct{ out, pad, in int }{{op.Out.H, op.PadTop, op.In.H}, {op.Out.W, op.PadLeft, op.In.W}} {
		last := (axis.out-1)*op.Stride - axis.pad
		if op.Kernel <= axis.pad || last >= axis.in {
			return fmt.Errorf("a window of %v holds no value of %v", op.Out, op.In)
		}
	}
	return nil
}

func checkParameters(weight, bias params.Range, weights, biases int, skip bool) ([]params.Range, error) {
	if weight.Len() != weights || bias.Len() != biases {
		return nil, fmt.Errorf("%d weights and %d biases: want %d and %d", weight.Len(), bias.Len(), weights, biases)
	}
	if skip {
		return nil, fmt.Errorf("skips the gradient of its input, which an earlier operation needs")
	}
	return []params.Range{weight, bias}, nil
}

// checkCover returns an error unless each of n values is in exactly one range.
func checkCover(ranges []params.Range, n int) error {
	sorted := slices.Clone(ranges)
	slices.SortFunc(sorted, func(a, b params.Range) int { return a.First - b.First })
	end := 0
	for _, r := range append(sorted, params.Range{First: n, End: n}) {
		if r.First != end {
			return fmt.Errorf("operations share parameters or leave some out, at value %d of %d", min(r.First, end), n)
		}
		end = r.End
	}
	return nil
}

// checkNodes returns an error where a node can't be one of a tree, or where
// there are more than most.
func checkNodes(nodes []params.Node, most int) error {
	if len(nodes) > most {
		return fmt.Errorf("%d nodes: the plan was compiled for %d", len(nodes), most)
	}
	for _, n := range nodes {
		if !n.Valid(n.End) {
			return fmt.Errorf("shards [%d, %d) are not a node of the tree", n.First, n.End)
		}
	}
	return nil
}

// countImages returns the images of all shards, or an error where shards do
// not ascend or hold fewer than no images.
func countImages(shards []device.ShardImages) (int, error) {
	n, last := 0, -1
	for _, s := range shards {
		if s.Shard <= last {
			return 0, fmt.Errorf("shard %d follows shard %d: want ascending shards from 0", s.Shard, last)
		}
		if s.Images < 0 || s.Images > maxImages {
			return 0, fmt.Errorf("shard %d: %d images: want 0 to %d", s.Shard, s.Images, maxImages)
		}
		last = s.Shard
		n += s.Images
	}
	return n, nil
}
