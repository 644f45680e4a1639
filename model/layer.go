package model

import (
	"fmt"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// Layer is one layer as a network lists it: without shapes, which follow from
// the network's input. It is *Conv, *Pool, *LRN, *Dense, *Dropout or
// *Activation, and not modified once its network is built.
type Layer interface {
	// Label is the layer's name, unique within its network: conv1.
	Label() string
	// Kind is what it is, in a word or two: convolution.
	Kind() string
	// Detail is how it is set, for tables: 96 of 11x11, stride 4, pad 1.
	Detail() string
	// Output returns the shape of one image's output for that of its input, or
	// an error where nothing would be left or the setting can't be met.
	Output(in device.Shape) (device.Shape, error)
	// Parameters returns its tensors for an input shape, without Range, and how
	// each begins. It may be empty.
	Parameters(in device.Shape) []Parameter
	// Op returns what a device executes; ranges are the places in the vector of
	// the tensors of Parameters, in their order.
	Op(p device.Place, ranges []params.Range) device.Op
	// FLOPs returns the cost of one image's forward pass in products.
	FLOPs(in, out device.Shape) FLOPs
}

// Parameter is a tensor of a layer and its first values.
type Parameter struct {
	Tensor params.Tensor
	Init   Init
}

// FLOPs counts floating-point operations of matrix products and convolutions,
// two for each multiply-add. All else (bias, activation, pooling, LRN) is left
// out, as is usual.
type FLOPs struct {
	Textbook int64 // every tap of every kernel
	Needed   int64 // without the taps that fall into the padding, always zero
}

// Plus returns the sum.
func (f FLOPs) Plus(g FLOPs) FLOPs { return FLOPs{f.Textbook + g.Textbook, f.Needed + g.Needed} }

// Times returns f done n times.
func (f FLOPs) Times(n int64) FLOPs { return FLOPs{f.Textbook * n, f.Needed * n} }

// formatShape writes a shape as tables do: 96x6x6.
func formatShape(s device.Shape) string { return fmt.Sprintf("%dx%dx%d", s.C, s.H, s.W) }
