package model

import (
	"fmt"
	"strings"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// leakySlope is the slope of leaky ReLU below zero.
const leakySlope = 0.1

// activations holds what Options.Activation can be, the default first.
var activations = []struct {
	name string
	kind device.ActivationKind
}{
	{"relu", device.ReLU},
	{"leaky-relu", device.LeakyReLU},
	{"softplus", device.Softplus},
}

// Activations returns the names of the activations, the default first.
func Activations() []string {
	var names []string
	for _, a := range activations {
		names = append(names, a.name)
	}
	return names
}

// parseActivation returns the activation of a name; an empty one is the default.
func parseActivation(name string) (device.ActivationKind, error) {
	if name == "" {
		return activations[0].kind, nil
	}
	for _, a := range activations {
		if a.name == name {
			return a.kind, nil
		}
	}
	return 0, fmt.Errorf("unknown activation %q%s; want one of %s", name, suggestion(name, Activations()), strings.Join(Activations(), ", "))
}

// Activation applies a function to every value.
type Activation struct {
	Name     string
	Function device.ActivationKind
}

// Label returns the name.
func (a *Activation) Label() string { return a.Name }

// Kind returns activation.
func (a *Activation) Kind() string { return "activation" }

// Detail tells the function.
func (a *Activation) Detail() string {
	for _, known := range activations {
		if known.kind != a.Function {
			continue
		}
		if a.Function == device.LeakyReLU {
			return fmt.Sprintf("%s, slope %g", known.name, leakySlope)
		}
		return known.name
	}
	return "unknown"
}

// Output returns in.
func (a *Activation) Output(in device.Shape) (device.Shape, error) { return in, nil }

// Parameters returns none.
func (a *Activation) Parameters(device.Shape) []Parameter { return nil }

// Op returns a *device.Activation.
func (a *Activation) Op(p device.Place, _ []params.Range) device.Op {
	op := &device.Activation{Place: p, Kind: a.Function}
	if a.Function == device.LeakyReLU {
		op.Slope = leakySlope
	}
	return op
}

// FLOPs returns none.
func (a *Activation) FLOPs(_, _ device.Shape) FLOPs { return FLOPs{} }
