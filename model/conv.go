package model

import (
	"fmt"
	"slices"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// Conv is a convolution with bias. Its tensors are Name.weight (Maps, C/Groups,
// Kernel, Kernel) and Name.bias (Maps).
type Conv struct {
	Name   string
	Maps   int // channels of the output
	Window Window
	Groups int // parts of the channels that don't see each other; 0 means 1

	Weight, Bias Init
}

func (c *Conv) groups() int { return max(c.Groups, 1) }

// Label returns the name.
func (c *Conv) Label() string { return c.Name }

// Kind returns convolution.
func (c *Conv) Kind() string { return "convolution" }

// Detail tells maps, window and groups.
func (c *Conv) Detail() string {
	s := fmt.Sprintf("%d of %s", c.Maps, c.Window)
	if c.groups() > 1 {
		s += fmt.Sprintf(", groups %d", c.Groups)
	}
	return s
}

// Output returns (Maps, OH, OW).
func (c *Conv) Output(in device.Shape) (device.Shape, error) {
	if g := c.groups(); in.C%g != 0 || c.Maps%g != 0 {
		return device.Shape{}, fmt.Errorf("%d groups must divide both its %d input and its %d output channels", g, in.C, c.Maps)
	}
	return slide(c.Window, in, c.Maps)
}

// slide returns the shape of maps channels of a window's places on in.
func slide(w Window, in device.Shape, maps int) (device.Shape, error) {
	h, _, err := w.fit(in.H)
	if err != nil {
		return device.Shape{}, err
	}
	width, _, err := w.fit(in.W)
	if err != nil {
		return device.Shape{}, err
	}
	return device.Shape{C: maps, H: h, W: width}, nil
}

// Parameters returns weight and bias. Of taps that meet padding alone, wherever
// the kernel stands, the weight has no gradient.
func (c *Conv) Parameters(in device.Shape) []Parameter {
	k := c.Window.Kernel
	return []Parameter{
		{params.Tensor{Name: c.Name + ".weight", Shape: []int{c.Maps, in.C / c.groups(), k, k}, Zero: c.unseen(in)}, c.Weight},
		{params.Tensor{Name: c.Name + ".bias", Shape: []int{c.Maps}}, c.Bias},
	}
}

// unseen tells which taps of the kernel meet no pixel; nil where all meet some.
func (c *Conv) unseen(in device.Shape) []bool {
	rows, columns := c.Window.meets(in.H), c.Window.meets(in.W)
	var unseen []bool
	for _, row := range rows {
		for _, column := range columns {
			unseen = append(unseen, !row || !column)
		}
	}
	if !slices.Contains(unseen, true) {
		return nil
	}
	return unseen
}

// Op returns a *device.Conv.
func (c *Conv) Op(p device.Place, ranges []params.Range) device.Op {
	_, top, _ := c.Window.fit(p.In.H)
	_, left, _ := c.Window.fit(p.In.W)
	return &device.Conv{
		Place:  p,
		Kernel: c.Window.Kernel, Stride: c.Window.Stride,
		PadTop: top, PadLeft: left,
		Groups: c.groups(),
		Weight: ranges[0], Bias: ranges[1],
	}
}

// FLOPs counts 2*Kernel*Kernel*C/Groups for each output, and the taps within
// the image.
func (c *Conv) FLOPs(in, out device.Shape) FLOPs {
	each := 2 * int64(in.C/c.groups()) * int64(out.C)
	k := int64(c.Window.Kernel)
	return FLOPs{
		Textbook: each * k * k * int64(out.H) * int64(out.W),
		Needed:   each * c.Window.taps(in.H) * c.Window.taps(in.W),
	}
}
