package worker

import (
	"errors"
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// threeChunks is a layout of two chunks and a half.
func threeChunks(t *testing.T) *params.Layout {
	t.Helper()
	layout, err := params.NewLayout([]params.Tensor{{Name: "w", Shape: []int{5, params.ChunkValues / 2}}})
	if err != nil {
		t.Fatal(err)
	}
	return layout
}

// newOutgoing sends sums whose every value is the number of their node.
func newOutgoing(layout *params.Layout) *outgoing {
	sums := [2][]float32{make([]float32, layout.Size()), slices.Repeat([]float32{1}, layout.Size())}
	return &outgoing{
		encoder: Encoder{Layout: layout},
		sum:     func(node int) []float32 { return sums[node] },
		sent:    func(int) {},
	}
}

var twoNodes = []params.Node{{First: 0, End: 2}, {First: 5, End: 6}}

func TestAChunkIsSentOnceAllItsValuesAreFinal(t *testing.T) {
	layout := threeChunks(t)
	sent := make(chan wire.Gradient, 6)
	o := newOutgoing(layout)
	o.begin(7, twoNodes, 0, func(r *wire.Request) error { sent <- r.Gradient; return nil })
	next := func(node, chunk int) {
		t.Helper()
		g := await(t, sent, "a chunk")
		if g.Step != 7 || int(g.First) != twoNodes[node].First || int(g.End) != twoNodes[node].End || int(g.Chunk) != chunk {
			t.Fatalf("sent step %d, shards %d to %d, chunk %d, want step 7, %v, chunk %d", g.Step, g.First, g.End, g.Chunk, twoNodes[node], chunk)
		}
		want := slices.Repeat([]float32{float32(node)}, layout.Live(chunk))
		if !slices.Equal(g.Payload.Floats(), want) {
			t.Errorf("node %d, chunk %d: the payload is not its values", node, chunk)
		}
		g.Payload.Free()
	}
	const c = params.ChunkValues
	o.ready(1, params.Range{First: 2*c + 100, End: layout.Size()})
	o.ready(0, params.Range{First: c - 1, End: 2 * c}) // the whole of chunk 1, one value of chunk 0
	next(0, 1)
	o.ready(1, params.Range{First: 2 * c, End: 2*c + 100})
	next(1, 2)
	o.ready(0, params.Range{First: 0, End: c - 1})
	next(0, 0)
	if err := o.finish(false); err != nil {
		t.Fatal(err)
	}
	if len(sent) > 0 {
		t.Errorf("%d chunks were sent of a step that was not computed", len(sent))
	}

	// Nothing of a step is left over for the next, and what ready never told of is sent at its end.
	o.begin(8, twoNodes[:1], 0, func(r *wire.Request) error { r.Free(); sent <- r.Gradient; return nil })
	o.ready(0, params.Range{First: 0, End: c})
	if err := o.finish(true); err != nil {
		t.Fatal(err)
	}
	var chunks []int
	for len(sent) > 0 {
		chunks = append(chunks, int((<-sent).Chunk))
	}
	if !slices.Equal(chunks, []int{0, 1, 2}) {
		t.Errorf("sent chunks %v, want 0, 1 and 2, each once", chunks)
	}
}

func TestNothingIsSentOverABrokenStream(t *testing.T) {
	layout := threeChunks(t)
	broken := errors.New("connection reset")
	tries := 0
	o := newOutgoing(layout)
	o.begin(0, twoNodes[:1], 0, func(r *wire.Request) error { r.Free(); tries++; return broken })
	o.ready(0, params.Range{First: 0, End: layout.Size()})
	if err := o.finish(true); !errors.Is(err, broken) {
		t.Errorf("finish = %v, want the error of the first chunk", err)
	}
	if tries != 1 {
		t.Errorf("%d chunks were tried, want 1", tries)
	}
}

// stoppingDevice makes plans that stop in backward, after the first layer done
// that makes a chunk whole, until the test lets them go on.
type stoppingDevice struct {
	device.Device
	goOn <-chan struct{}
}

func (d stoppingDevice) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	p, err := d.Device.Compile(g, o)
	return stoppingPlan{p, d.goOn}, err
}

type stoppingPlan struct {
	device.Plan
	goOn <-chan struct{}
}

func (p stoppingPlan) Gradient(b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
	first := true
	return p.Plan.Gradient(b, func(node int, r params.Range) {
		ready(node, r)
		if first && r.Len() > params.ChunkValues {
			first = false
			<-p.goOn
		}
	})
}

// The last layer's gradient is at the server before the first layer's is
// computed, and comes back while it is.
func TestChunksGoAndComeWhileBackwardRuns(t *testing.T) {
	t.Run("over the stream", func(t *testing.T) { goAndComeWhileBackwardRuns(t, false) })
	t.Run("in shared memory", func(t *testing.T) { goAndComeWhileBackwardRuns(t, true) })
}

func goAndComeWhileBackwardRuns(t *testing.T, shared bool) {
	job := testJob()
	job.Classes = 8000 // the last layer has more than two chunks
	ref := newReference(t, job)
	goOn := make(chan struct{})
	cfg := testConfig(t)
	cfg.Device = stoppingDevice{cfg.Device, goOn}
	d := newDirector(t)
	d.job = job
	first, next := loaded(ref.net, 1), loaded(ref.net, 2)
	if shared {
		d.shared = sharedVectors(ref, 1, 2)
		first, next = told(ref.net.Layout, 1), told(ref.net.Layout, 2)
	}
	run(t, cfg, d)
	l := d.admit()
	l.tell(assigned(1))
	l.tell(first...)
	l.tell(asked(gradientKind, 1))
	chunks := ref.net.Layout.Chunks()
	c := l.contributeWhile(ref.net, 1, 1, func(chunk int) {
		if chunk == 1 {
			l.tell(next[1:]...) // of the next step, all that this worker has helped to make
			goOn <- struct{}{}
		}
	})
	if chunks < 3 {
		t.Fatalf("the network has %d chunks, the test wants 3", chunks)
	}
	ref.check(c, 1, []int{1})
	l.tell(next[0])
	l.tell(asked(gradientKind, 2))
	go func() { goOn <- struct{}{} }()
	ref.check(l.contribute(ref.net, 2, 1), 2, []int{1})
	l.tell(done(true, ""))
}

// A worker that is to compute the step once more, for a shard that another has
// lost, is sent again what the next step has replaced.
func TestParametersThatWereReplacedComeAgain(t *testing.T) {
	job := testJob()
	job.Classes = 4000
	ref := newReference(t, job)
	d := newDirector(t)
	d.job = job
	run(t, testConfig(t), d)
	l := d.admit()
	one, two := loaded(ref.net, 1), loaded(ref.net, 2)
	l.tell(assigned(1))
	l.tell(one...)
	l.tell(asked(gradientKind, 1))
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{1})
	l.tell(two[1], assigned(0, 1), one[1], asked(gradientKind, 1))
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{0})
	l.tell(two[1], two[0], asked(gradientKind, 2))
	ref.check(l.contribute(ref.net, 2, 1), 2, []int{0, 1})
	l.tell(done(true, ""))
}

// A chunk of the next step leaves the work in hand its own parameters, even
// where it is heard of before that is begun.
func TestAnEarlyChunkWaitsForTheWorkInHand(t *testing.T) {
	job := testJob()
	ref := newReference(t, job)
	cfg := testConfig(t)
	task, err := newTask(&cfg, job, wire.JobHash(job))
	if err != nil {
		t.Fatal(err)
	}
	defer task.close()
	chunk := func(step uint64) *wire.Parameters {
		r := wire.ResponseOf(loaded(ref.net, step)[0])
		return &r.Parameters
	}
	load := func(step uint64) (kept bool) {
		t.Helper()
		c := chunk(step)
		if err := task.load(c); err != nil {
			t.Fatal(err)
		}
		if c.Payload == nil {
			return true
		}
		c.Payload.Free()
		return false
	}
	if err := task.assign(&musterv1.Assignment{Shards: []uint32{2}}); err != nil {
		t.Fatal(err)
	}
	load(1)
	task.begin(asked(gradientKind, 1).GetWork())
	for range 2 { // it may come twice
		if !load(2) {
			t.Error("a chunk of the next step did not wait")
		}
	}
	if !task.held.at(1) {
		t.Error("the work in hand has lost its parameters")
	}
	var sum []float32
	err = task.compute(t.Context(), func(r *wire.Request) error {
		if r.Gradient.Payload != nil {
			sum = slices.Clone(r.Gradient.Payload.Floats())
		}
		r.Free()
		return nil
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !sameBits(sum, ref.sum(params.Leaf(2), 1)) {
		t.Error("the gradient is not that of the step's own parameters")
	}
	if !task.held.at(2) {
		t.Error("what waited is not there after the work")
	}
	if got := ref.net.Layout.Chunk(0).Of(task.plan.Parameters()); !sameBits(got, vector(ref.net, 2)) {
		t.Error("the plan does not hold the next step's parameters")
	}
	// Of two chunks the one sent later counts, early or not.
	load(1)
	task.sent[2] = false
	if !load(2) || load(1) {
		t.Error("the step's own parameters did not come in at once")
	}
	task.held.loadEarly(task.plan)
	if !task.held.at(1) {
		t.Error("what was replaced by a later message came in after it")
	}
}
