package devicetest

import (
	"math"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// faulty is a device whose plans have one defect: nil functions do what the
// plan beneath does.
type faulty struct {
	device.Device
	compile  func(d device.Device, g *device.Graph, o device.Options) (device.Plan, error)
	gradient func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error)
	evaluate func(p *faultyPlan, b *device.Batch) ([]device.Tally, error)
	predict  func(p *faultyPlan, out []float32, b *device.Batch) error
	loaded   func(p *faultyPlan, r params.Range)
	use      func(p *faultyPlan, v []float32)
}

type faultyPlan struct {
	device.Plan
	of    *faulty
	nodes int
	calls int
	host  []float32 // a vector of its own, for loaded
}

func (d *faulty) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	compile := d.compile
	if compile == nil {
		compile = func(d device.Device, g *device.Graph, o device.Options) (device.Plan, error) { return d.Compile(g, o) }
	}
	p, err := compile(d.Device, g, o)
	if err != nil || p == nil {
		return nil, err
	}
	f := &faultyPlan{Plan: p, of: d, nodes: o.Nodes}
	if d.loaded != nil {
		f.host = make([]float32, g.Parameters)
	}
	return f, nil
}

func (p *faultyPlan) Parameters() []float32 {
	if p.host != nil {
		return p.host
	}
	return p.Plan.Parameters()
}

func (p *faultyPlan) UseParameters(v []float32) {
	if p.of.use != nil {
		p.of.use(p, v)
		return
	}
	p.Plan.UseParameters(v)
}

func (p *faultyPlan) Loaded(r params.Range) {
	if p.of.loaded != nil {
		p.of.loaded(p, r)
	}
	p.Plan.Loaded(r)
}

func (p *faultyPlan) Gradient(b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
	p.calls++
	if p.of.gradient != nil {
		return p.of.gradient(p, b, ready)
	}
	return p.Plan.Gradient(b, ready)
}

func (p *faultyPlan) Evaluate(b *device.Batch) ([]device.Tally, error) {
	if p.of.evaluate != nil {
		return p.of.evaluate(p, b)
	}
	return p.Plan.Evaluate(b)
}

func (p *faultyPlan) Predict(out []float32, b *device.Batch) error {
	if p.of.predict != nil {
		return p.of.predict(p, out, b)
	}
	return p.Plan.Predict(out, b)
}

// after returns a gradient that lets f spoil a right one.
func after(f func(p *faultyPlan, b *device.Batch, tallies []device.Tally)) *faulty {
	return &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
		tallies, err := p.Plan.Gradient(b, ready)
		if err == nil {
			f(p, b, tallies)
		}
		return tallies, err
	}}
}

// nudge moves v by the least that can be.
func nudge(v *float32) { *v = math.Nextafter32(*v, 2) }

func images(b *device.Batch) int { return len(b.Labels) }

// withFactors returns a gradient that has done spoil the factors of a shard before it
// passes them on.
func withFactors(done func(f *device.Factors, part int, s device.ShardImages)) *faulty {
	return &faulty{gradient: func(p *faultyPlan, b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
		if b.Factors == nil {
			return p.Plan.Gradient(b, ready)
		}
		c, own := *b, *b.Factors
		rooms := map[[2]int][2][]float32{}
		kept := own // gives the same room again
		kept.Room = func(part int, s device.ShardImages) (activations, deltas []float32) {
			r := rooms[[2]int{part, s.Shard}]
			return r[0], r[1]
		}
		own.Room = func(part int, s device.ShardImages) (activations, deltas []float32) {
			activations, deltas = b.Factors.Room(part, s)
			rooms[[2]int{part, s.Shard}] = [2][]float32{activations, deltas}
			return activations, deltas
		}
		own.Done = func(part int, s device.ShardImages) { done(&kept, part, s) }
		c.Factors = &own
		return p.Plan.Gradient(&c, ready)
	}}
}
