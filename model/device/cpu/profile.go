package cpu

import "time"

// LayerTime is how long a layer took, over all threads, in wall-clock time.
type LayerTime struct {
	Layer    string        // "input" and "loss" for what comes before and after the layers
	Forward  time.Duration // with bringing the weights into order
	Backward time.Duration // gradients of the input
	Weights  time.Duration // gradients of the parameters
}

// Total is the sum.
func (t *LayerTime) Total() time.Duration { return t.Forward + t.Backward + t.Weights }

// profile is the clock that a plan's calls stop after each thing they do.
// While it has no rows it is off, and never looks at the time.
type profile struct {
	rows []LayerTime // the input, the layers in forward order, the loss
	last time.Time   // when what is going on began
}

// Profile makes p's calls take their time, layer by layer, anew from zero, or no
// longer. Taking it costs a look at the clock for each of a layer's phases. What
// ready takes counts nowhere.
func (p *plan) Profile(on bool) {
	p.profile = profile{}
	if !on || p.closed {
		return
	}
	p.profile.rows = append(p.profile.rows, LayerTime{Layer: "input"})
	for _, op := range p.graph.Ops {
		p.profile.rows = append(p.profile.rows, LayerTime{Layer: op.Label()})
	}
	p.profile.rows = append(p.profile.rows, LayerTime{Layer: "loss"})
}

// Times appends to times what the calls since Profile(true), or since the last
// Times, took: the input's loading, each layer in forward order, and softmax with
// cross-entropy. It appends nothing while no time is taken.
func (p *plan) Times(times []LayerTime) []LayerTime {
	times = append(times, p.profile.rows...)
	for i := range p.profile.rows {
		p.profile.rows[i] = LayerTime{Layer: p.profile.rows[i].Layer}
	}
	return times
}

// begin starts the clock.
func (p *profile) begin() {
	if p.rows != nil {
		p.last = time.Now()
	}
}

// lap adds the time since the clock was last stopped or started to where.
func (p *profile) lap(where *time.Duration) {
	now := time.Now()
	*where += now.Sub(p.last)
	p.last = now
}

func (p *profile) input() {
	if p.rows != nil {
		p.lap(&p.rows[0].Forward)
	}
}

func (p *profile) forward(layer int) {
	if p.rows != nil {
		p.lap(&p.rows[1+layer].Forward)
	}
}

func (p *profile) loss() {
	if p.rows != nil {
		p.lap(&p.rows[len(p.rows)-1].Forward)
	}
}

func (p *profile) backward(layer int) {
	if p.rows != nil {
		p.lap(&p.rows[1+layer].Backward)
	}
}

func (p *profile) weights(layer int) {
	if p.rows != nil {
		p.lap(&p.rows[1+layer].Weights)
	}
}
