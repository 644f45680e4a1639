package topology

import (
	"fmt"

	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Version is the format that Of writes and Build reads.
const Version = 1

// Of describes a network. Activation is the name of its hidden layers'
// function; classes are the names of its first outputs, the others are called
// "class N"; imageSide is the side in pixels of the images it is trained on.
func Of(net *model.Network, activation string, classes []string, imageSide int, synthetic bool) *musterv1.Topology {
	t := &musterv1.Topology{
		Version: Version, Network: net.Name, Title: net.Title, Input: shapeOf(net.Input), Activation: activation,
		Preprocessing: &musterv1.Preprocessing{
			ImageSide: uint32(imageSide), Channels: "rgb",
			Mean: net.Preprocess.Mean[:], Deviation: net.Preprocess.Std[:],
		},
		Layout: net.Layout.Fingerprint(), Parameters: uint64(net.Layout.Size()), Synthetic: synthetic,
	}
	for i := range net.Classes {
		name := fmt.Sprintf("class %d", i)
		if i < len(classes) {
			name = classes[i]
		}
		t.Classes = append(t.Classes, name)
	}
	tensors := map[params.Range]params.Tensor{}
	for _, p := range net.Layout.Tensors() {
		tensors[p.Range] = p
	}
	for _, op := range net.Graph.Ops {
		t.Layers = append(t.Layers, layerOf(op, tensors))
	}
	return t
}

func layerOf(op device.Op, tensors map[params.Range]params.Tensor) *musterv1.TopologyLayer {
	in, out := op.Shapes()
	l := &musterv1.TopologyLayer{Name: op.Label(), Input: shapeOf(in), Output: shapeOf(out)}
	tensor := func(r params.Range) *musterv1.ParameterTensor {
		p := tensors[r]
		t := &musterv1.ParameterTensor{Name: p.Name, Offset: uint64(r.First)}
		for _, d := range p.Shape {
			t.Shape = append(t.Shape, uint32(d))
		}
		return t
	}
	switch op := op.(type) {
	case *device.Conv:
		l.Kind = &musterv1.TopologyLayer_Conv{Conv: &musterv1.ConvLayer{
			Kernel: uint32(op.Kernel), Stride: uint32(op.Stride), PadTop: uint32(op.PadTop), PadLeft: uint32(op.PadLeft),
			Groups: uint32(op.Groups), Weight: tensor(op.Weight), Bias: tensor(op.Bias),
		}}
	case *device.Dense:
		l.Kind = &musterv1.TopologyLayer_Dense{Dense: &musterv1.DenseLayer{Weight: tensor(op.Weight), Bias: tensor(op.Bias)}}
	case *device.Pool:
		l.Kind = &musterv1.TopologyLayer_Pool{Pool: &musterv1.PoolLayer{
			Kind: poolKinds[op.Kind], Kernel: uint32(op.Kernel), Stride: uint32(op.Stride), PadTop: uint32(op.PadTop), PadLeft: uint32(op.PadLeft),
		}}
	case *device.LRN:
		l.Kind = &musterv1.TopologyLayer_Lrn{Lrn: &musterv1.LRNLayer{Size: uint32(op.Size), K: op.K, Alpha: op.Alpha, Beta: op.Beta}}
	case *device.Dropout:
		l.Kind = &musterv1.TopologyLayer_Dropout{Dropout: &musterv1.DropoutLayer{P: op.P, Inverted: op.Inverted}}
	case *device.Activation:
		l.Kind = &musterv1.TopologyLayer_Activation{Activation: &musterv1.ActivationLayer{Kind: activationKinds[op.Kind], Slope: op.Slope}}
	default:
		panic(fmt.Sprintf("topology: unknown kind of operation %T", op))
	}
	return l
}

// The words of the format.
var (
	poolKinds       = map[device.PoolKind]string{device.MaxPool: "max", device.AveragePool: "average"}
	activationKinds = map[device.ActivationKind]string{device.ReLU: "relu", device.LeakyReLU: "leaky-relu", device.Softplus: "softplus"}
)

func shapeOf(s device.Shape) *musterv1.TensorShape {
	return &musterv1.TensorShape{Channels: uint32(s.C), Height: uint32(s.H), Width: uint32(s.W)}
}
