package e2e

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/model/topology"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// windows compares a network of the kinds of layers and windows that the
// format allows and no network of Muster's has.
func (tc *torchTest) windows(t *testing.T) {
	b := &torchNetwork{about: &musterv1.Topology{
		Version: topology.Version, Network: "windows",
		Preprocessing: &musterv1.Preprocessing{
			ImageSide: dataset.Side, Channels: "rgb", Mean: []float32{0.4, 0.5, 0.6}, Deviation: []float32{0.2, 0.3, 0.4},
		},
		Input: &musterv1.TensorShape{Channels: 3, Height: 37, Width: 37},
	}}
	for i := range 10 {
		b.about.Classes = append(b.about.Classes, fmt.Sprint("class ", i))
	}
	b.conv("conv1", shape(12, 20, 21), &musterv1.ConvLayer{Kernel: 5, Stride: 2, PadTop: 3, PadLeft: 1, Groups: 1})
	b.activation("leaky1", "leaky-relu", 0.3)
	b.layer("lrn1", b.at(), &musterv1.TopologyLayer{Kind: &musterv1.TopologyLayer_Lrn{Lrn: &musterv1.LRNLayer{Size: 4, K: 1.5, Alpha: 0.2, Beta: 0.6}}})
	b.pool("pool1", shape(12, 11, 10), &musterv1.PoolLayer{Kind: "max", Kernel: 3, Stride: 2, PadTop: 2, PadLeft: 0}) // of negative values, too
	b.conv("conv2", shape(18, 8, 10), &musterv1.ConvLayer{Kernel: 3, Stride: 1, PadTop: 0, PadLeft: 1, Groups: 3})    // its last row is not seen
	b.activation("softplus2", "softplus", 0)
	b.layer("lrn2", b.at(), &musterv1.TopologyLayer{Kind: &musterv1.TopologyLayer_Lrn{Lrn: &musterv1.LRNLayer{Size: 3, Alpha: 0.5, Beta: 0.75}}})
	b.pool("pool2", shape(18, 5, 5), &musterv1.PoolLayer{Kind: "average", Kernel: 3, Stride: 2, PadTop: 1, PadLeft: 2})
	b.dropout("dropout2", 0.3, false)
	b.pool("pool3", shape(18, 2, 2), &musterv1.PoolLayer{Kind: "average", Kernel: 4, Stride: 3, PadTop: 1, PadLeft: 0})
	b.dense("fc3", 40)
	b.activation("relu3", "relu", 0)
	b.dropout("dropout3", 0.2, true)
	b.dense("fc4", 10)
	file := filepath.Join(t.TempDir(), "windows.safetensors")
	b.write(t, file)
	tc.compareRandom(t, file)
}

// torchNetwork gathers the layers of a topology.
type torchNetwork struct {
	about   *musterv1.Topology
	tensors []params.Tensor
	size    uint64
}

func shape(c, h, w uint32) *musterv1.TensorShape {
	return &musterv1.TensorShape{Channels: c, Height: h, Width: w}
}

// at is the shape that the layers so far give.
func (b *torchNetwork) at() *musterv1.TensorShape {
	if n := len(b.about.Layers); n > 0 {
		return b.about.Layers[n-1].Output
	}
	return b.about.Input
}

func (b *torchNetwork) layer(name string, out *musterv1.TensorShape, l *musterv1.TopologyLayer) {
	l.Name, l.Input, l.Output = name, b.at(), out
	b.about.Layers = append(b.about.Layers, l)
}

func (b *torchNetwork) tensor(name string, dims ...uint32) *musterv1.ParameterTensor {
	p := &musterv1.ParameterTensor{Name: name, Shape: dims, Offset: b.size}
	t, n := params.Tensor{Name: name}, uint64(1)
	for _, d := range dims {
		t.Shape = append(t.Shape, int(d))
		n *= uint64(d)
	}
	b.tensors, b.size = append(b.tensors, t), b.size+n
	return p
}

func (b *torchNetwork) conv(name string, out *musterv1.TensorShape, c *musterv1.ConvLayer) {
	c.Weight = b.tensor(name+".weight", out.Channels, b.at().Channels/c.Groups, c.Kernel, c.Kernel)
	c.Bias = b.tensor(name+".bias", out.Channels)
	b.layer(name, out, &musterv1.TopologyLayer{Kind: &musterv1.TopologyLayer_Conv{Conv: c}})
}

func (b *torchNetwork) dense(name string, outputs uint32) {
	in := b.at()
	d := &musterv1.DenseLayer{Weight: b.tensor(name+".weight", outputs, in.Channels*in.Height*in.Width), Bias: b.tensor(name+".bias", outputs)}
	b.layer(name, shape(outputs, 1, 1), &musterv1.TopologyLayer{Kind: &musterv1.TopologyLayer_Dense{Dense: d}})
}

func (b *torchNetwork) pool(name string, out *musterv1.TensorShape, p *musterv1.PoolLayer) {
	b.layer(name, out, &musterv1.TopologyLayer{Kind: &musterv1.TopologyLayer_Pool{Pool: p}})
}

func (b *torchNetwork) activation(name, kind string, slope float32) {
	b.layer(name, b.at(), &musterv1.TopologyLayer{Kind: &musterv1.TopologyLayer_Activation{Activation: &musterv1.ActivationLayer{Kind: kind, Slope: slope}}})
}

func (b *torchNetwork) dropout(name string, p float32, inverted bool) {
	b.layer(name, b.at(), &musterv1.TopologyLayer{Kind: &musterv1.TopologyLayer_Dropout{Dropout: &musterv1.DropoutLayer{P: p, Inverted: inverted}}})
}

// write writes the network with random parameters, as muster export would.
func (b *torchNetwork) write(t *testing.T, path string) {
	t.Helper()
	layout, err := params.NewLayout(b.tensors)
	if err != nil {
		t.Fatal(err)
	}
	b.about.Layout, b.about.Parameters = layout.Fingerprint(), b.size
	text, err := topology.JSON(b.about)
	if err != nil {
		t.Fatal(err)
	}
	writeRandom(t, path, layout, map[string]string{"topology": string(text)}, 1)
}
