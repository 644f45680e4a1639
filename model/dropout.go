package model

import (
	"fmt"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// Dropout zeroes each value with probability P in training. In the form of 2012
// testing multiplies by 1-P; in the inverted form training divides by 1-P what
// it keeps.
type Dropout struct {
	Name     string
	P        float32
	Inverted bool
	Number   uint32 // of this dropout among those of its network, from 0: keys its random numbers
}

// Label returns the name.
func (d *Dropout) Label() string { return d.Name }

// Kind returns dropout.
func (d *Dropout) Kind() string { return "dropout" }

// Detail tells probability and form.
func (d *Dropout) Detail() string {
	if d.Inverted {
		return fmt.Sprintf("%g, inverted", d.P)
	}
	return fmt.Sprintf("%g, form of 2012", d.P)
}

// Output returns in.
func (d *Dropout) Output(in device.Shape) (device.Shape, error) { return in, nil }

// Parameters returns none.
func (d *Dropout) Parameters(device.Shape) []Parameter { return nil }

// Op returns a *device.Dropout.
func (d *Dropout) Op(p device.Place, _ []params.Range) device.Op {
	return &device.Dropout{Place: p, P: d.P, Inverted: d.Inverted, Layer: d.Number}
}

// FLOPs returns none.
func (d *Dropout) FLOPs(_, _ device.Shape) FLOPs { return FLOPs{} }
