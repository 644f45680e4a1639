package paramserver

import (
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// A worker that takes in nothing for a while, over a connection that has room for
// some of the chunks only, holds up what depends on it and nothing else: the
// server answers, takes in and updates what others send, and sends them what has
// been made. Afterwards it goes on, with nothing counted twice. The worker speaks by
// the generated code, as one in another language would.
func TestASlowReaderHoldsUpNobodyElse(t *testing.T) {
	cfg := testConfig(t)
	cfg.Job.Network = "alexnet-cifar"
	r, conn := serve(t, cfg)
	fast := pinnedPuppet(t, r.Server, "fast", 0)
	request := joinRequest(r.Server, "slow")
	request.Shard = &musterv1.PinnedShard{Index: 1, Count: 2}
	stream, _ := openStream(t, conn, request, 0)

	// contribute sends what the slow worker's shard has to give at a step.
	layout := fast.layout
	contribute := func(step uint64, chunks ...int) {
		for _, chunk := range chunks {
			values := slices.Repeat([]float32{gradient(1, step)}, layout.Live(chunk))
			stream.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: wire.NewGradientChunk(step, 1, 2, chunk, values)}})
		}
	}
	tally := func(w *musterv1.Work, images uint32) {
		stream.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: &musterv1.Tallies{
			Step: w.Step, Kind: w.Kind, Tallies: []*musterv1.Tally{{Shard: 1, Images: images, Loss: 1}},
		}}})
	}
	all := make([]int, layout.Chunks())
	for i := range all {
		all[i] = i
	}

	// At first it reads nothing, and sends of the last chunk alone.
	w := fast.work()
	fast.obey(w)
	last := layout.Chunks() - 1
	contribute(0, last)
	fast.parameters(1, last)
	if got := look(t, r.Server); got.Step != 0 || got.Phase != "training" {
		t.Errorf("the job is %s at step %d, want training at step 0", got.Phase, got.Step)
	}

	done := make(chan struct{})
	go func() { defer close(done); fast.toil() }()
	got := map[uint64]int{}  // chunks received, by step
	var asked *musterv1.Work // whose parameters are still to come
	for {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetDone() != nil {
			break
		}
		if refusal := m.GetRefusal(); refusal != nil {
			t.Fatalf("refused: %v", refusal)
		}
		if p := m.GetParameters(); p != nil {
			got[p.Step]++
		}
		if m.GetWork() != nil {
			asked = m.GetWork()
		}
		if asked == nil || got[asked.Step] < layout.Chunks() {
			continue
		}
		w := asked
		asked = nil
		if w.Kind == kindEvaluate {
			tally(w, 2)
			continue
		}
		if n := images(r.Server, 1, int(w.Batch)); n > 0 {
			contribute(w.Step, all...)
			tally(w, uint32(n))
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	<-done
	result, err := r.wait(t)
	check(t, result, err, cfg.Job, 3)
	if n := r.counts.repeated; n != 1 {
		t.Errorf("%d contributions were dropped as repeats, want that of the last chunk at step 0", n)
	}
}
