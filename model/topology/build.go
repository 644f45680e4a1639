package topology

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Bounds on what a file may ask for, far above any network's needs.
const (
	maxLayers = 1 << 12
	maxExtent = 1 << 16 // of a shape, kernel or stride
	maxValues = 1 << 28 // of one image's activations
	maxSize   = 1 << 31 // values of all parameters
	maxSide   = 1 << 10 // pixels
)

// ErrInvalid is wrapped where a topology does not describe a network.
var ErrInvalid = errors.New("not a topology that can be run")

// Network is a topology made ready for a device.
type Network struct {
	Graph     *device.Graph
	Layout    *params.Layout
	Classes   []string
	ImageSide int        // of the images it was trained on, in pixels
	Side      int        // of its input, in pixels
	Mean, Std [3]float32 // of pixel/255, red, green, blue
	About     *musterv1.Topology
}

// Build makes the network that t describes. The device that compiles the graph
// checks that its operations fit each other; Build checks all else. Errors wrap
// ErrInvalid.
func Build(t *musterv1.Topology) (*Network, error) {
	n, err := build(t)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return n, nil
}

func build(t *musterv1.Topology) (*Network, error) {
	if t.GetVersion() != Version {
		return nil, fmt.Errorf("version %d, this program reads %d", t.GetVersion(), Version)
	}
	if n := len(t.Layers); n < 1 || n > maxLayers {
		return nil, fmt.Errorf("%d layers: 1 to %d are allowed", n, maxLayers)
	}
	for i, name := range t.Classes {
		if strings.ContainsFunc(name, unicode.IsControl) {
			return nil, fmt.Errorf("the name of class %d, %q, has characters that are not for display", i, name)
		}
	}
	n := &Network{Classes: t.Classes, About: t}
	if err := n.preprocessing(t); err != nil {
		return nil, err
	}
	input, err := shape(t.Input)
	if err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	if input.C != 3 || input.H != input.W || input.H > maxSide {
		return nil, fmt.Errorf("input %v: want 3 channels and a square of at most %d pixels a side", input, maxSide)
	}
	n.Side = input.H

	b := builder{}
	n.Graph = &device.Graph{Input: input, Classes: len(t.Classes)}
	for i, l := range t.Layers {
		op, err := b.layer(l)
		if err != nil {
			return nil, fmt.Errorf("layer %d, %q: %w", i, l.GetName(), err)
		}
		n.Graph.Ops = append(n.Graph.Ops, op)
	}
	if n.Layout, err = params.NewLayout(b.tensors); err != nil {
		return nil, err
	}
	if got := n.Layout.Fingerprint(); got != t.Layout {
		return nil, fmt.Errorf("its tensors have fingerprint %.12s, it says %.12s", got, t.Layout)
	}
	n.Graph.Parameters = n.Layout.Size()
	if got := uint64(n.Layout.Size()); got != t.Parameters {
		return nil, fmt.Errorf("its tensors hold %d values, it says %d", got, t.Parameters)
	}
	return n, nil
}

func (n *Network) preprocessing(t *musterv1.Topology) error {
	p := t.GetPreprocessing()
	if p == nil || len(p.Mean) != 3 || len(p.Deviation) != 3 {
		return errors.New("preprocessing: a mean and a deviation of three channels are needed")
	}
	if p.ImageSide < 1 || p.ImageSide > maxSide {
		return fmt.Errorf("preprocessing: images of %d pixels a side: 1 to %d are allowed", p.ImageSide, maxSide)
	}
	if p.Channels != "rgb" {
		return fmt.Errorf("preprocessing: channels %q: only rgb is known", p.Channels)
	}
	for c := range 3 {
		if d := p.Deviation[c]; !finite(p.Mean[c]) || !finite(d) || d <= 0 {
			return fmt.Errorf("preprocessing: mean %v and deviation %v of channel %d: want a finite and a positive number", p.Mean[c], d, c)
		}
	}
	n.ImageSide = int(p.ImageSide)
	n.Mean, n.Std = [3]float32(p.Mean), [3]float32(p.Deviation)
	return nil
}

// builder gathers tensors, in the order of the vector, as layers name them.
type builder struct {
	tensors  []params.Tensor
	size     uint64
	dropouts uint32
}

func (b *builder) layer(l *musterv1.TopologyLayer) (device.Op, error) {
	in, err := shape(l.GetInput())
	if err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	out, err := shape(l.GetOutput())
	if err != nil {
		return nil, fmt.Errorf("output: %w", err)
	}
	place := device.Place{Name: l.Name, In: in, Out: out}
	switch k := l.Kind.(type) {
	case *musterv1.TopologyLayer_Conv:
		return b.conv(place, k.Conv)
	case *musterv1.TopologyLayer_Dense:
		return b.dense(place, k.Dense)
	case *musterv1.TopologyLayer_Pool:
		return pool(place, k.Pool)
	case *musterv1.TopologyLayer_Lrn:
		if p := k.Lrn; p.Size < 1 || p.Size > maxExtent || !finite(p.K) || !finite(p.Alpha) || !finite(p.Beta) {
			return nil, fmt.Errorf("normalisation over %d channels with k %v, alpha %v, beta %v: want 1 to %d and finite numbers", p.Size, p.K, p.Alpha, p.Beta, maxExtent)
		}
		return &device.LRN{Place: place, Size: int(k.Lrn.Size), K: k.Lrn.K, Alpha: k.Lrn.Alpha, Beta: k.Lrn.Beta}, nil
	case *musterv1.TopologyLayer_Dropout:
		b.dropouts++
		return &device.Dropout{Place: place, P: k.Dropout.P, Inverted: k.Dropout.Inverted, Layer: b.dropouts - 1}, nil
	case *musterv1.TopologyLayer_Activation:
		for kind, name := range activationKinds {
			if name == k.Activation.Kind && finite(k.Activation.Slope) {
				return &device.Activation{Place: place, Kind: kind, Slope: k.Activation.Slope}, nil
			}
		}
		return nil, fmt.Errorf("activation %q with slope %v is not known", k.Activation.Kind, k.Activation.Slope)
	}
	return nil, errors.New("its kind is not known")
}

func (b *builder) conv(place device.Place, c *musterv1.ConvLayer) (device.Op, error) {
	if err := window(c.Kernel, c.Stride, c.PadTop, c.PadLeft); err != nil {
		return nil, err
	}
	g := int(c.Groups)
	if g < 1 || place.In.C%g != 0 || place.Out.C%g != 0 {
		return nil, fmt.Errorf("%d groups: want a divisor of %d and %d channels", g, place.In.C, place.Out.C)
	}
	weight, err := b.tensor(c.Weight, place.Out.C, place.In.C/g, int(c.Kernel), int(c.Kernel))
	if err != nil {
		return nil, err
	}
	bias, err := b.tensor(c.Bias, place.Out.C)
	if err != nil {
		return nil, err
	}
	return &device.Conv{
		Place: place, Kernel: int(c.Kernel), Stride: int(c.Stride), PadTop: int(c.PadTop), PadLeft: int(c.PadLeft),
		Groups: g, Weight: weight, Bias: bias,
	}, nil
}

func (b *builder) dense(place device.Place, d *musterv1.DenseLayer) (device.Op, error) {
	weight, err := b.tensor(d.Weight, place.Out.C, place.In.Values())
	if err != nil {
		return nil, err
	}
	bias, err := b.tensor(d.Bias, place.Out.C)
	if err != nil {
		return nil, err
	}
	return &device.Dense{Place: place, Weight: weight, Bias: bias}, nil
}

func pool(place device.Place, p *musterv1.PoolLayer) (device.Op, error) {
	if err := window(p.Kernel, p.Stride, p.PadTop, p.PadLeft); err != nil {
		return nil, err
	}
	for kind, name := range poolKinds {
		if name == p.Kind {
			return &device.Pool{
				Place: place, Kind: kind, Kernel: int(p.Kernel), Stride: int(p.Stride), PadTop: int(p.PadTop), PadLeft: int(p.PadLeft),
			}, nil
		}
	}
	return nil, fmt.Errorf("pooling %q: max and average are known", p.Kind)
}

// tensor takes the next tensor of the vector, which must have the shape wanted
// and follow the one before it.
func (b *builder) tensor(t *musterv1.ParameterTensor, want ...int) (params.Range, error) {
	if t == nil || len(t.Shape) != len(want) {
		return params.Range{}, fmt.Errorf("a tensor of shape %v is needed, %q has %v", want, t.GetName(), t.GetShape())
	}
	n := uint64(1)
	for i, d := range want {
		if int64(t.Shape[i]) != int64(d) {
			return params.Range{}, fmt.Errorf("tensor %s has shape %v, its layer needs %v", t.Name, t.Shape, want)
		}
		if n *= uint64(d); n > maxSize {
			return params.Range{}, fmt.Errorf("tensor %s of shape %v is larger than %d values", t.Name, want, maxSize)
		}
	}
	if t.Offset != b.size {
		return params.Range{}, fmt.Errorf("tensor %s begins at value %d, the one before it ends at %d", t.Name, t.Offset, b.size)
	}
	if b.size+n > maxSize {
		return params.Range{}, fmt.Errorf("the parameters are more than %d values", maxSize)
	}
	r := params.Range{First: int(b.size), End: int(b.size + n)}
	b.tensors = append(b.tensors, params.Tensor{Name: t.Name, Shape: want})
	b.size += n
	return r, nil
}

func window(kernel, stride, top, left uint32) error {
	if kernel < 1 || kernel > maxExtent || stride < 1 || stride > maxExtent || top > maxExtent || left > maxExtent {
		return fmt.Errorf("kernel %d, stride %d, padding %d and %d: want 1, and for padding 0, to %d", kernel, stride, top, left, maxExtent)
	}
	return nil
}

func shape(s *musterv1.TensorShape) (device.Shape, error) {
	c, h, w := uint64(s.GetChannels()), uint64(s.GetHeight()), uint64(s.GetWidth())
	if c < 1 || h < 1 || w < 1 || h > maxExtent || w > maxExtent || c > maxValues || c*h*w > maxValues {
		return device.Shape{}, fmt.Errorf("shape %dx%dx%d: want positive extents and at most %d values", c, h, w, maxValues)
	}
	return device.Shape{C: int(c), H: int(h), W: int(w)}, nil
}

func finite(x float32) bool { return !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0) }
