package model

import (
	"strconv"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// Dense is a fully connected layer with bias over all values of its input, in
// the order channel, row, column. Its tensors are Name.weight (Outputs, C*H*W)
// and Name.bias (Outputs).
type Dense struct {
	Name    string
	Outputs int

	Weight, Bias Init
}

// Label returns the name.
func (d *Dense) Label() string { return d.Name }

// Kind returns fully connected.
func (d *Dense) Kind() string { return "fully connected" }

// Detail tells the number of outputs.
func (d *Dense) Detail() string { return strconv.Itoa(d.Outputs) }

// Output returns (Outputs, 1, 1).
func (d *Dense) Output(device.Shape) (device.Shape, error) {
	return device.Shape{C: d.Outputs, H: 1, W: 1}, nil
}

// Parameters returns weight and bias.
func (d *Dense) Parameters(in device.Shape) []Parameter {
	return []Parameter{
		{params.Tensor{Name: d.Name + ".weight", Shape: []int{d.Outputs, in.Values()}}, d.Weight},
		{params.Tensor{Name: d.Name + ".bias", Shape: []int{d.Outputs}}, d.Bias},
	}
}

// Op returns a *device.Dense.
func (d *Dense) Op(p device.Place, ranges []params.Range) device.Op {
	return &device.Dense{Place: p, Weight: ranges[0], Bias: ranges[1]}
}

// FLOPs counts two for each weight.
func (d *Dense) FLOPs(in, out device.Shape) FLOPs {
	n := 2 * int64(in.Values()) * int64(out.Values())
	return FLOPs{Textbook: n, Needed: n}
}
