package worker

import (
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// tellingDevice makes plans that tell which parameters they await.
type tellingDevice struct {
	device.Device
	awaited chan params.Range
}

func (d tellingDevice) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	p, err := d.Device.Compile(g, o)
	return tellingPlan{p, d.awaited}, err
}

type tellingPlan struct {
	device.Plan
	awaited chan params.Range
}

func (p tellingPlan) Gradient(b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
	await := b.Await
	told := *b
	told.Await = func(r params.Range) error { p.awaited <- r; return await(r) }
	return p.Plan.Gradient(&told, ready)
}

// The first layers are computed while the last one's parameters are still to come.
func TestForwardBeginsWithTheLayersThatAreThere(t *testing.T) {
	for name, shared := range map[string]bool{"over the stream": false, "in shared memory": true} {
		t.Run(name, func(t *testing.T) { forwardBegins(t, shared) })
	}
}

func forwardBegins(t *testing.T, shared bool) {
	job := testJob()
	job.Classes = 8000 // the last layer has more than two chunks
	ref := newReference(t, job)
	awaited := make(chan params.Range, 64)
	cfg := testConfig(t)
	cfg.Device = tellingDevice{cfg.Device, awaited}
	d := newDirector(t)
	d.job = job
	one, two := loaded(ref.net, 1), loaded(ref.net, 2)
	if shared {
		d.shared = sharedVectors(ref, 1, 2)
		one, two = told(ref.net.Layout, 1), told(ref.net.Layout, 2)
	}
	run(t, cfg, d)
	l := d.admit()
	l.tell(assigned(1))
	l.tell(asked(gradientKind, 1))
	first := await(t, awaited, "the first layer")
	l.tell(one[0])
	for r := first; r.End <= params.ChunkValues; {
		r = await(t, awaited, "a layer whose parameters are in the second chunk")
	}
	// What is early of the next step waits, whatever is still to come of this one.
	l.tell(two[0])
	l.tell(one[1:]...)
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{1})
	l.tell(two[1:]...)
	l.tell(asked(gradientKind, 2))
	ref.check(l.contribute(ref.net, 2, 1), 2, []int{1})
	l.tell(done(true, ""))
}
