package model

import (
	"fmt"
	"strings"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// Options set what a network leaves open. The zero value is the network as
// docs/networks.md describes it.
type Options struct {
	Activation string // relu, leaky-relu or softplus for all layers; "": relu
	InputSize  int    // height and width of the input, at most MaxInputSize; 0: the network's own
	LRNOrder   string // article or paper, for alexnet-2012 alone; "": article
	Classes    int    // outputs, 2 to MaxClasses; 0: the network's own
}

// The limits of Options.
const (
	MaxInputSize = 1024
	MaxClasses   = 65536
)

// Network is a network with all shapes resolved. It is not modified after New
// and safe for concurrent use.
type Network struct {
	Name       string       // as New takes it
	Title      string       // what it is, in a line
	Input      device.Shape // of one image
	Classes    int
	Layers     []Layer        // in forward order
	Layout     *params.Layout // of all parameters
	Graph      *device.Graph  // one operation for each layer
	Preprocess Preprocess
	Recipe     Recipe

	inits []Init // of the Layout's tensors
}

// Preprocess is what the network's input is made of: a pixel of 0 to 255 goes
// in as (pixel/255 - Mean) / Std of its channel.
type Preprocess struct {
	Side      int // height and width that images are resized to
	Mean, Std [3]float32
}

// Recipe is how the network is trained unless the user says otherwise. The
// gradient is the mean over the batch.
type Recipe struct {
	Batch, Epochs                       int
	LearningRate, Momentum, WeightDecay float32
	Nesterov                            bool
	Schedule                            string // as --schedule takes it; a total that is left out is the job's
	Augment                             string // as --augment takes it
}

// draft is a network as its file describes it.
type draft struct {
	title      string
	side       int // of the input, RGB
	classes    int
	preprocess Preprocess // Side is set by New, and Std to 1 where it is 0
	recipe     Recipe
	layers     func(s *stack) // lists the layers
}

// catalogue holds the networks by name, in the order of docs/networks.md.
var catalogue = []struct {
	name  string
	draft func(Options) (draft, error)
}{
	{"alexnet", alexnet},
	{"alexnet-lrn", alexnetLRN},
	{"alexnet-tf", alexnetTF},
	{"alexnet-2012", alexnet2012},
	{"lenet5", lenet5},
	{"simple-cnn", simpleCNN},
	{"alexnet-cifar", alexnetCIFAR},
}

// Names returns the names that New takes.
func Names() []string {
	var names []string
	for _, e := range catalogue {
		names = append(names, e.name)
	}
	return names
}

// New resolves the network of a name. Errors name the option, its value and
// what is allowed; where the input is too small they name the layer that
// vanished and the smallest size that leaves every layer an output.
func New(name string, o Options) (*Network, error) {
	for _, e := range catalogue {
		if e.name != name {
			continue
		}
		n, err := resolve(name, e.draft, o)
		if err != nil {
			return nil, fmt.Errorf("network %s: %w", name, err)
		}
		return n, nil
	}
	return nil, fmt.Errorf("unknown network %q%s; want one of %s", name, suggestion(name, Names()), strings.Join(Names(), ", "))
}

func resolve(name string, describe func(Options) (draft, error), o Options) (*Network, error) {
	if o.LRNOrder != "" && name != "alexnet-2012" {
		return nil, fmt.Errorf("lrn order %q: only alexnet-2012 has a choice of order", o.LRNOrder)
	}
	if o.Classes != 0 && (o.Classes < 2 || o.Classes > MaxClasses) {
		return nil, fmt.Errorf("classes %d: want 2 to %d, or 0 for the network's own", o.Classes, MaxClasses)
	}
	if o.InputSize < 0 || o.InputSize > MaxInputSize {
		return nil, fmt.Errorf("input size %d: want 1 to %d, or 0 for the network's own", o.InputSize, MaxInputSize)
	}
	activation, err := parseActivation(o.Activation)
	if err != nil {
		return nil, err
	}
	d, err := describe(o)
	if err != nil {
		return nil, err
	}
	if o.InputSize != 0 {
		d.side = o.InputSize
	}
	if o.Classes != 0 {
		d.classes = o.Classes
	}
	s := stack{activation: activation, classes: d.classes}
	d.layers(&s)
	d.preprocess.Side = d.side
	for c, std := range d.preprocess.Std {
		if std == 0 {
			d.preprocess.Std[c] = 1
		}
	}
	n := &Network{
		Name: name, Title: d.title,
		Input: device.Shape{C: 3, H: d.side, W: d.side}, Classes: d.classes,
		Layers:     s.layers,
		Preprocess: d.preprocess,
		Recipe:     d.recipe,
	}
	if err := n.lower(); err != nil {
		return nil, err
	}
	return n, nil
}

// lower resolves shapes, lays the parameters out, and builds the graph.
func (n *Network) lower() error {
	shapes, err := infer(n.Layers, n.Input)
	if err != nil {
		err = fmt.Errorf("input size %d: %w", n.Input.H, err)
		for side := n.Input.H + 1; side <= MaxInputSize; side++ {
			if _, e := infer(n.Layers, device.Shape{C: n.Input.C, H: side, W: side}); e == nil {
				return fmt.Errorf("%w; the smallest input size for this network is %d", err, side)
			}
		}
		return err
	}
	var tensors []params.Tensor
	for i, l := range n.Layers {
		for _, p := range l.Parameters(shapes[i]) {
			tensors = append(tensors, p.Tensor)
			n.inits = append(n.inits, p.Init)
		}
	}
	if n.Layout, err = params.NewLayout(tensors); err != nil {
		return err
	}
	n.Graph = &device.Graph{Input: n.Input, Classes: n.Classes, Parameters: n.Layout.Size()}
	first := true // no parameters so far: nobody needs the gradient of this input
	at := 0
	for i, l := range n.Layers {
		var ranges []params.Range
		for range l.Parameters(shapes[i]) {
			ranges = append(ranges, n.Layout.Tensors()[at].Range)
			at++
		}
		op := l.Op(device.Place{Name: l.Label(), In: shapes[i], Out: shapes[i+1]}, ranges)
		if first && len(ranges) > 0 {
			first = false
			switch op := op.(type) {
			case *device.Conv:
				op.SkipInputGradient = true
			case *device.Dense:
				op.SkipInputGradient = true
			}
		}
		n.Graph.Ops = append(n.Graph.Ops, op)
	}
	return nil
}

// infer returns the shapes between the layers: that of the input, then the
// output of each layer.
func infer(layers []Layer, in device.Shape) ([]device.Shape, error) {
	shapes := []device.Shape{in}
	for _, l := range layers {
		out, err := l.Output(in)
		if err != nil {
			return nil, fmt.Errorf("layer %s (%s) has no output for an input of %s: %w", l.Label(), l.Kind(), formatShape(in), err)
		}
		shapes = append(shapes, out)
		in = out
	}
	return shapes, nil
}
