package model

import (
	"fmt"

	"github.com/muster-train/muster/model/device"
)

// stack lists the layers of a network one after the other. Layers are numbered
// as AlexNet's are: convolutions and fully connected layers count together from
// 1, and what belongs to one of them bears its number.
type stack struct {
	activation device.ActivationKind
	classes    int

	layers   []Layer
	number   int // of the last convolution or fully connected layer
	dropouts uint32
}

func (s *stack) add(l Layer) { s.layers = append(s.layers, l) }

// name returns kind and number of the current layer: pool1.
func (s *stack) name(kind string) string { return fmt.Sprintf("%s%d", kind, s.number) }

// conv adds a convolution and its activation; c.Name is set here.
func (s *stack) conv(c Conv) {
	s.number++
	c.Name = s.name("conv")
	s.add(&c)
	s.act()
}

// hidden adds a fully connected layer and its activation.
func (s *stack) hidden(outputs int, weight, bias Init) {
	s.number++
	s.add(&Dense{Name: s.name("fc"), Outputs: outputs, Weight: weight, Bias: bias})
	s.act()
}

// output adds the last fully connected layer, one output for each class.
func (s *stack) output(weight, bias Init) {
	s.number++
	s.add(&Dense{Name: s.name("fc"), Outputs: s.classes, Weight: weight, Bias: bias})
}

func (s *stack) act() {
	kind := map[device.ActivationKind]string{device.ReLU: "relu", device.LeakyReLU: "leaky", device.Softplus: "softplus"}[s.activation]
	s.add(&Activation{Name: s.name(kind), Function: s.activation})
}

// pool adds max pooling.
func (s *stack) pool(w Window) {
	s.add(&Pool{Name: s.name("pool"), Function: device.MaxPool, Window: w})
}

// lrn adds a normalisation; l.Name is set here.
func (s *stack) lrn(l LRN) {
	l.Name = s.name("lrn")
	s.add(&l)
}

func (s *stack) dropout(p float32, inverted bool) {
	s.add(&Dropout{Name: s.name("dropout"), P: p, Inverted: inverted, Number: s.dropouts})
	s.dropouts++
}
