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

// told are the messages that say that the parameters of a step are in place, with
// payloads of which nothing must be read.
func told(layout *params.Layout, step uint64) []*musterv1.ExchangeResponse {
	return toldIn(musterv1.Encoding_ENCODING_F32, layout, step)
}

// toldIn is told in an encoding.
func toldIn(e musterv1.Encoding, layout *params.Layout, step uint64) []*musterv1.ExchangeResponse {
	var all []*musterv1.ExchangeResponse
	for c := range layout.Chunks() {
		p := wire.Parameters{Step: step, Chunk: uint32(c), Payload: wire.Encode(e, make([]float32, layout.Chunk(c).Len()))}
		m := p.Message()
		all = append(all, &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Parameters{Parameters: m}})
	}
	return all
}

// sharedVectors is shared memory that holds the parameters of an odd and an even step.
func sharedVectors(ref *reference, odd, even uint64) *wire.Shared {
	return &wire.Shared{Parameters: [2][]float32{vector(ref.net, even), vector(ref.net, odd)}}
}

// TestSharedParametersAreReadWhereTheyAre goes over three steps, so that a place
// is used twice, and then over a stream without shared memory.
func TestSharedParametersAreReadWhereTheyAre(t *testing.T) {
	d := newDirector(t)
	ref := newReference(t, d.job)
	layout := ref.net.Layout
	vectors := [2][]float32{params.NewVector(layout.Size()), params.NewVector(layout.Size())}
	d.shared = &wire.Shared{Parameters: vectors}
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0, 1))
	for step := uint64(1); step <= 3; step++ {
		copy(vectors[step%2], vector(ref.net, step))
		l.tell(told(layout, step)...)
		l.tell(asked(gradientKind, step))
		ref.check(l.contribute(ref.net, step, 1), step, []int{0, 1})
	}

	before := [2][]float32{slices.Clone(vectors[0]), slices.Clone(vectors[1])}
	d.shared = nil
	l.cut(errors.New("connection reset"))
	l = d.admit()
	if have := l.hello.HaveStepPlusOne; have != 0 {
		t.Errorf("hello says it holds step %d, want none: it saw the server's vectors", have-1)
	}
	l.tell(assigned(0, 1))
	l.tell(loaded(ref.net, 4)...)
	l.tell(asked(gradientKind, 4))
	ref.check(l.contribute(ref.net, 4, 1), 4, []int{0, 1})
	if !slices.Equal(vectors[0], before[0]) || !slices.Equal(vectors[1], before[1]) {
		t.Error("the worker wrote to the server's vectors")
	}
}

func TestSumsAreLentOnceAStep(t *testing.T) {
	ref := newReference(t, testJob())
	plan, err := ref.net.Plan(testConfig(t).Device, device.Options{Images: 1, Nodes: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	var v vectors
	v.own(plan, 2)
	own := [2]*float32{&plan.Sum(0)[0], &plan.Sum(1)[0]}
	at := func() [2]*float32 { return [2]*float32{&plan.Sum(0)[0], &plan.Sum(1)[0]} }
	place := func(step uint64, nodes, want int) {
		t.Helper()
		if lend := v.place(plan, step, nodes); lend != want {
			t.Errorf("step %d: %d sums lent, want %d", step, lend, want)
		}
	}

	v.begins(nil)
	place(0, 2, 0)
	if at() != own {
		t.Error("without shared memory the sums are not the plan's own")
	}
	v.begins(&wire.Shared{}) // the server sees everything
	place(0, 1, 1)
	first := at()
	if first[0] == own[0] || first[1] != own[1] {
		t.Error("of one node the sum should be lent, and the other left alone")
	}
	place(0, 2, 0)
	if at() != own {
		t.Error("a step computed again writes to what was lent")
	}
	place(1, 2, 2)
	if second := at(); second[0] != first[0] || second[1] == own[1] {
		t.Error("what was lent for the step before should serve again")
	}
	v.ends(plan)
	if at() != own {
		t.Error("after the stream the sums are not the plan's own")
	}
	v.begins(&wire.Shared{})
	place(1, 2, 2)
	if third := at(); third[0] == first[0] {
		t.Error("another stream writes to what was lent over the one before")
	}
	v.ends(plan)

	one := params.NewVector(ref.net.Layout.Size())
	v.begins(&wire.Shared{Sums: [][]float32{one}})
	place(2, 2, 1)
	if at() != [2]*float32{&one[0], own[1]} {
		t.Error("of two sums the one should be where the server sees it, the other the plan's own")
	}
}

func TestLentChunksAreViewsOfTheSums(t *testing.T) {
	layout := threeChunks(t)
	sent := make(chan wire.Gradient, 3)
	o := newOutgoing(layout)
	o.lend = 1
	o.begin(7, twoNodes[:1], 0, func(r *wire.Request) error { sent <- r.Gradient; return nil })
	if err := o.finish(true); err != nil {
		t.Fatal(err)
	}
	for range layout.Chunks() {
		g := <-sent
		values := layout.Chunk(int(g.Chunk)).Of(o.sum(0))
		if got := g.Payload.Floats(); !g.Payload.IsView() || len(got) != len(values) || &got[0] != &values[0] {
			t.Errorf("chunk %d: not a view of the sum", g.Chunk)
		}
	}
}
