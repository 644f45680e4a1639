package worker

import (
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/wire"
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

// slowDevice tells when it compiles a plan for more than a node, and waits.
type slowDevice struct {
	device.Device
	compiling chan chan struct{}
}

func (d slowDevice) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	p, err := d.Device.Compile(g, o)
	if o.Nodes > 1 {
		goOn := make(chan struct{})
		d.compiling <- goOn
		<-goOn
	}
	return p, err
}

// A round may end, by what others have sent, while a worker still makes ready for
// work of it: what came early of the next step is there for that.
func TestWorkThatIsNotDoneLeavesTheNextStepItsParameters(t *testing.T) {
	job := testJob()
	job.Classes = 8000
	ref := newReference(t, job)
	cfg := testConfig(t)
	compiling := make(chan chan struct{})
	cfg.Device = slowDevice{cfg.Device, compiling}
	d := newDirector(t)
	d.job = job
	run(t, cfg, d)
	l := d.admit()
	l.tell(assigned(1))
	l.tell(asked(gradientKind, 1))
	l.tell(loaded(ref.net, 1)...)
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{1})
	l.tell(assigned(1, 3)) // whose owner has contributed and left
	goOn := await(t, compiling, "a larger plan")
	l.tell(asked(gradientKind, 1))
	l.tell(loaded(ref.net, 2)...)
	l.tell(asks(2, 2)...) // once the second is taken in, the first is seen before anything is computed
	close(goOn)
	ref.check(l.contribute(ref.net, 2, 1), 2, []int{1, 3}) // of 3 there are no images
	l.tell(done(true, ""))
}

// A step that is computed again for more shards, and once more, never writes to the
// sums that were lent for it.
func TestAnAbortedStepDoesNotWriteToWhatWasLent(t *testing.T) {
	job := testJob()
	job.Classes = 8000
	ref := newReference(t, job)
	awaited := make(chan params.Range, 640)
	cfg := testConfig(t)
	cfg.Device = tellingDevice{cfg.Device, awaited}
	d := newDirector(t)
	d.job = job
	d.shared = sharedVectors(ref, 1, 2)
	n := ref.net.Layout.Size()
	d.shared.Sums = [][]float32{params.NewVector(n), params.NewVector(n)}
	run(t, cfg, d)
	l := d.admit()
	one, two := told(ref.net.Layout, 1), told(ref.net.Layout, 2)
	l.tell(assigned(0))
	l.tell(asked(gradientKind, 1))
	l.tell(one...)
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{0})
	lent := slices.Clone(d.shared.Sums[0])
	for len(awaited) > 0 {
		<-awaited
	}
	last := len(two) - 1
	l.tell(two[last]) // of which all shards have come
	l.tell(assigned(0, 2))
	l.tell(asked(gradientKind, 1))
	for r := (params.Range{}); r.End <= last*params.ChunkValues; {
		r = await(t, awaited, "the last layer")
	}
	l.tell(assigned(0, 2, 3))
	l.tell(asked(gradientKind, 1))
	l.tell(one[last])
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{2, 3})
	if !sameBits(lent, d.shared.Sums[0]) {
		t.Error("what was lent for the step was written to")
	}
	l.tell(done(true, ""))
}

// stagingDevice has a copy of the parameters, as a GPU has: it brings there what
// UseParameters and Loaded tell of.
type stagingDevice struct{ device.Device }

func (d stagingDevice) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	p, err := d.Device.Compile(g, o)
	host := params.NewVector(g.Parameters)
	return stagingPlan{p, &host}, err
}

type stagingPlan struct {
	device.Plan
	host *[]float32
}

func (p stagingPlan) Parameters() []float32 { return *p.host }

func (p stagingPlan) UseParameters(v []float32) {
	*p.host = v
	p.Loaded(params.Range{First: 0, End: len(v)})
}

func (p stagingPlan) Loaded(r params.Range) {
	copy(r.Of(p.Plan.Parameters()), r.Of(*p.host))
	p.Plan.Loaded(r)
}

func TestThePlanIsToldOfSharedParametersWhenTheyCome(t *testing.T) {
	ref := newReference(t, testJob())
	awaited := make(chan params.Range, 64)
	cfg := testConfig(t)
	cfg.Device = tellingDevice{stagingDevice{cfg.Device}, awaited}
	d := newDirector(t)
	n := ref.net.Layout.Size()
	d.shared = &wire.Shared{Parameters: [2][]float32{params.NewVector(n), params.NewVector(n)}}
	run(t, cfg, d)
	l := d.admit()
	l.tell(assigned(1))
	l.tell(asked(gradientKind, 1))
	await(t, awaited, "the first layer")
	copy(d.shared.Parameters[1], vector(ref.net, 1)) // the server makes them
	l.tell(told(ref.net.Layout, 1)...)
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{1})
	l.tell(done(true, ""))
}
