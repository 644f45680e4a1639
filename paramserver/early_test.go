package paramserver

import (
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// twoChunks is the test job with a network of two chunks.
func twoChunks(t *testing.T) Config {
	cfg := testConfig(t)
	cfg.Job.Classes = 4000
	return cfg
}

// parameters receives what must be a chunk of the parameters at a step.
func (p *puppet) parameters(step uint64, chunk int) {
	p.t.Helper()
	var m wire.Response
	if err := p.stream.Recv(&m); err != nil {
		p.t.Fatalf("%s: %v", p.id, err)
	}
	defer m.Free()
	c := &m.Parameters
	if c.Payload == nil || c.Step != step || int(c.Chunk) != chunk {
		p.t.Fatalf("%s: heard of step %d, chunk %d (%v), want parameters of step %d, chunk %d", p.id, c.Step, c.Chunk, m.Message, step, chunk)
	}
	copy(p.layout.Chunk(chunk).Of(p.vector), c.Payload.Floats())
	p.at[chunk] = step + 1
}

func TestAChunkComesBackOnceAllShardsHaveIt(t *testing.T) {
	cfg := twoChunks(t)
	s := newServer(t, cfg)
	run(t, s)
	p := newPuppet(t, s, "a")
	w := p.work()
	before := slices.Clone(p.vector)
	p.push(w.Step, params.Node{First: 0, End: 2}, 1)
	p.parameters(1, 1)
	r := p.layout.Chunk(1)
	if slices.Equal(r.Of(p.vector), r.Of(before)) {
		t.Error("the chunk of step 1 is that of step 0")
	}
	if got := look(t, s).Step; got != 0 {
		t.Errorf("the newest whole step is %d, want 0", got)
	}
	early := slices.Clone(p.vector)
	p.push(w.Step, params.Node{First: 0, End: 2}, 0)
	p.parameters(1, 0)
	p.tallies(w, 0, 1)
	if w = p.work(); w.Step != 1 || w.Kind != musterv1.WorkKind_WORK_KIND_GRADIENT {
		t.Fatalf("asked for %v, want the gradients of step 1", w)
	}
	if !slices.Equal(r.Of(p.vector), r.Of(early)) {
		t.Error("the chunk that came early was not the step's")
	}
	p.obey(w)
	p.toil()
}

// The shard of a worker that has gone goes to one that holds parts of the next
// step already: the step's own come again before it is asked to compute it.
func TestWhoTakesOverAShardGetsTheStepBack(t *testing.T) {
	cfg := twoChunks(t)
	s := newServer(t, cfg)
	r := run(t, s)
	a := newPuppet(t, s, "a")
	w := a.work()
	b := newPuppet(t, s, "b") // gets its shard with the next step
	a.obey(w)
	w = a.work()
	if b.work(); w.Step != 1 || len(a.shards) != 1 || len(b.shards) != 1 {
		t.Fatalf("at step %d a has shards %v, b %v, want one each at step 1", w.Step, a.shards, b.shards)
	}
	atOne := slices.Clone(a.vector)
	a.tallies(w, a.shards...)
	a.push(1, params.Leaf(a.shards[0]), 0)
	a.push(1, params.Leaf(a.shards[0]), 1)
	b.push(1, params.Leaf(b.shards[0]), 1)
	a.parameters(2, 1)
	b.parameters(2, 1)
	b.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Leave{Leave: &musterv1.Leave{Reason: "test"}}})
	b.stream.Close()

	if w = a.work(); w.Step != 1 || len(a.shards) != 2 {
		t.Fatalf("asked for step %d of shards %v, want step 1 of both", w.Step, a.shards)
	}
	if !slices.Equal(a.vector, atOne) {
		t.Error("the parameters are not those of step 1")
	}
	a.obey(w)
	a.toil()
	result, err := r.wait(t)
	check(t, result, err, cfg.Job, 3)
}

// Whoever is to compute a contribution again gets back what was replaced.
func TestARefusedContributionComesWithItsParameters(t *testing.T) {
	cfg := twoChunks(t)
	s := newServer(t, cfg)
	r := run(t, s)
	p := newPuppet(t, s, "a")
	p.work()
	p.push(0, params.Node{First: 0, End: 2}, 1)
	p.parameters(1, 1)
	m := wire.NewGradientChunk(0, 0, 2, 0, make([]float32, p.layout.Live(0)))
	m.Checksum++
	p.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: m}})
	if p.work(); len(p.refused) != 1 {
		t.Fatalf("refusals %v, want one", p.refused)
	}
	w := p.work() // with what was replaced
	if w.Step != 0 {
		t.Fatalf("asked for step %d, want 0", w.Step)
	}
	p.obey(w)
	p.toil()
	result, err := r.wait(t)
	check(t, result, err, cfg.Job, 3)
	if n := s.counts.repeated; n != 1 { // the loop has ended
		t.Errorf("%d contributions were repeated, want that of the chunk that had counted", n)
	}
}

// What an update made NaN or infinite is never sent.
func TestAChunkThatIsNotFiniteDoesNotComeBack(t *testing.T) {
	s := newServer(t, twoChunks(t))
	chunk := s.network.Layout.Chunk(1)
	g := slices.Repeat([]float32{-3e38}, chunk.Len())
	if s.store.Apply(1, g, 1, 3e38) {
		t.Fatal("an infinite update is finite")
	}
	if s.store.Has(1, 1) {
		t.Error("the chunk can be read at step 1")
	}
	if !s.store.Apply(1, make([]float32, chunk.Len()), 1, 0.1) || !s.store.Has(1, 1) || s.store.Has(1, 0) {
		t.Error("of step 1, chunk 1 alone is made")
	}
	if s.store.Has(2, 1) || !s.store.Has(0, 1) {
		t.Error("step 0 is whole, step 2 has not begun")
	}
	s.store.Commit(1)
	if s.store.Has(2, 1) || s.store.Has(0, 1) || !s.store.Has(1, 1) {
		t.Error("after the commit step 1 is whole, step 0 is past, step 2 has not begun")
	}
}
