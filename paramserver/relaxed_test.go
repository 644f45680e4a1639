package paramserver

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// relaxedConfig is the test job with a synchronisation, and a rate that is half as
// high with each full step.
func relaxedConfig(t *testing.T, sync string) Config {
	c := testConfig(t)
	c.Job.Sync, c.Job.Schedule = sync, "discexp:0.5,2"
	return c
}

// piece is a contribution, whatever its chunk.
type piece struct {
	step int
	node params.Node
}

// inOrder is the parameters after contributions that were applied one by one, by the
// rule written out. order tells those of a chunk.
func inOrder(t *testing.T, job *musterv1.JobSpec, order func(chunk int) []piece) []float32 {
	t.Helper()
	net, err := network(job)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{job: job}
	w := params.NewVector(net.Layout.Size())
	net.Initialise(w, job.Seed)
	v := make([]float32, len(w))
	for chunk := range net.Layout.Chunks() {
		r := net.Layout.Chunk(chunk)
		for _, p := range order(chunk) {
			var sum float32
			of, total := 0, 0
			for shard := range int(job.Shards) {
				n := images(s, shard, p.step%3)
				total += n
				if p.node.Has(shard) && n > 0 {
					sum += gradient(shard, uint64(p.step))
					of += n
				}
			}
			rate := job.LearningRate / []float32{1, 2, 4}[p.step%3] // by the samples before the step: 0, 2, 4
			scale, decay := 1/float32(total), job.WeightDecay*(float32(of)/float32(total))
			for i := r.First; i < r.End; i++ {
				d := float32(sum*scale) + float32(decay*w[i])
				v[i] = float32(job.Momentum*v[i]) - float32(rate*d)
				w[i] += v[i]
			}
		}
	}
	return w
}

func always(order ...piece) func(int) []piece { return func(int) []piece { return order } }

func checkOrder(t *testing.T, r Result, err error, job *musterv1.JobSpec, order func(int) []piece) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if want := params.Hash(inOrder(t, job, order)); r.Hash != want {
		t.Errorf("parameters after step %d have hash %s, want %s", r.Step, r.Hash, want)
	}
}

// idle tells whether the server has nothing for a worker to do.
func idle(t *testing.T, s *Server, worker string) (idle bool) {
	t.Helper()
	if err := s.do(t.Context(), func() { idle = s.sessions[worker].order == nil }); err != nil {
		t.Fatal(err)
	}
	return idle
}

// One worker's contributions are whole steps, and it computes with all it has
// contributed: the bits are those of a synchronous job.
func TestOneRelaxedWorkerGivesTheBitsOfASynchronousJob(t *testing.T) {
	for _, sync := range []string{"async", "ssp:1"} {
		cfg := testConfig(t)
		cfg.Job.Sync = sync
		r := run(t, newServer(t, cfg))
		p := newPuppet(t, r.Server, "w")
		p.toil()
		result, err := r.wait(t)
		check(t, result, err, testJob(), 3)
		if result.Samples != 5 || len(result.Epochs) != 1 || p.done == nil || p.done.ParametersSha256 != result.Hash {
			t.Errorf("%s: result %+v, the worker was told %v", sync, result, p.done)
		}
		if c := result.Staleness; c == nil || *c != (Staleness{}) {
			t.Errorf("%s: staleness %+v, want none", sync, c)
		}
	}
}

func TestAWorkerIsAheadByAsManyStepsAsTheJobAllows(t *testing.T) {
	cfg := relaxedConfig(t, "ssp:1")
	r := run(t, newServer(t, cfg))
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	slow := next(t, b)
	for step := range uint64(2) {
		w := next(t, a)
		if w.Step != step || !slices.Equal(w.Shards, []uint32{0}) {
			t.Fatalf("a was asked for %v, want shard 0 of step %d", w, step)
		}
		a.obey(w)
	}
	if !idle(t, r.Server, "a") {
		t.Error("a was asked for a third step while b has not finished the first")
	}
	if got := look(t, r.Server); got.Step != 0 || got.Staleness.GetStepsAhead() != 1 {
		t.Errorf("step %d, %d ahead; want 0, 1", got.Step, got.Staleness.GetStepsAhead())
	}
	b.obey(slow)
	w := next(t, a)
	if w.Step != 2 {
		t.Fatalf("a was asked for step %d once b had caught up, want 2", w.Step)
	}
	second := next(t, b)
	a.obey(w)
	b.obey(second)
	go a.toil()
	b.toil()
	result, err := r.wait(t)
	checkOrder(t, result, err, cfg.Job, always(piece{0, node(0, 1)}, piece{1, node(0, 1)}, piece{0, node(1, 2)}, piece{2, node(0, 1)}, piece{1, node(1, 2)}))
	// b's first came two updates after it had read, its second one, a's none.
	if c := result.Staleness; c.Max != 2 || c.Mean != 3./5 || c.Ahead != 1 {
		t.Errorf("staleness %+v, want at most 2, 0.6 in the mean, 1 step ahead", c)
	}
}

func TestAnAsynchronousWorkerWaitsForNobodyWithinAnEpoch(t *testing.T) {
	cfg := relaxedConfig(t, "async")
	r := run(t, newServer(t, cfg))
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	for range 3 {
		a.obey(next(t, a))
	}
	if !idle(t, r.Server, "a") {
		t.Error("a was asked for more than its epoch")
	}
	go a.toil()
	b.toil()
	result, err := r.wait(t)
	checkOrder(t, result, err, cfg.Job, always(piece{0, node(0, 1)}, piece{1, node(0, 1)}, piece{2, node(0, 1)}, piece{0, node(1, 2)}, piece{1, node(1, 2)}))
}

func TestADeadWorkersShardsCountOnce(t *testing.T) {
	cfg := relaxedConfig(t, "ssp:2")
	cfg.Job.Network = "alexnet-cifar" // of many chunks
	r := run(t, newServer(t, cfg))
	a := newPuppet(t, r.Server, "a")
	if w := next(t, a); len(w.Shards) != 2 {
		t.Fatalf("a was asked for %v", w)
	}
	half := a.layout.Chunks() / 2
	for c := range half {
		a.push(0, node(0, 1), c)
	}
	a.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Leave{Leave: &musterv1.Leave{}}})
	a.stream.Close()
	b := newPuppet(t, r.Server, "b")
	w := next(t, b)
	if w.Step != 0 || !slices.Equal(w.Shards, []uint32{1}) {
		t.Errorf("b was asked for %v, want shard 1, of which nothing has counted", w)
	}
	b.obey(w)
	w = next(t, b)
	if w.Step != 0 || !slices.Equal(w.Shards, []uint32{0}) {
		t.Errorf("b was asked for %v, want shard 0, of which some has counted", w)
	}
	b.obey(w)
	b.toil()
	result, err := r.wait(t)
	checkOrder(t, result, err, cfg.Job, func(chunk int) []piece {
		first := []piece{{0, node(1, 2)}, {0, node(0, 1)}}
		if chunk < half {
			slices.Reverse(first)
		}
		return append(first, piece{1, node(0, 2)}, piece{2, node(0, 2)})
	})
	if got := r.counts.repeated; int(got) != half {
		t.Errorf("%d contributions came again, want %d", got, half)
	}
}

func TestASumOfWhichSomeHasCountedIsComputedByParts(t *testing.T) {
	cfg := relaxedConfig(t, "async")
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	w := next(t, p)
	for c := range p.layout.Chunks() {
		p.push(0, node(0, 1), c)
		p.push(0, node(0, 2), c)
	}
	p.tallies(w, 0, 1)
	p.work()
	if len(p.refused) != 1 || p.refused[0].Reason != musterv1.RefusalReason_REFUSAL_REASON_MIXED {
		t.Fatalf("refusals %v, want one of shards 0-1", p.refused)
	}
	p.toil()
	result, err := r.wait(t)
	checkOrder(t, result, err, cfg.Job, always(piece{0, node(0, 1)}, piece{0, node(1, 2)}, piece{1, node(0, 2)}, piece{2, node(0, 2)}))
	if got := r.counts.malformed; got != 0 {
		t.Errorf("%d contributions are called malformed", got)
	}
}

func TestAnUpdateThatIsNotFiniteIsNotApplied(t *testing.T) {
	cfg := relaxedConfig(t, "async")
	cfg.Job.LearningRate = 1000
	r := run(t, newServer(t, cfg))
	p := newPuppet(t, r.Server, "w")
	next(t, p)
	p.pushValue(0, node(0, 2), 0, 3e38)
	p.stream.Close()
	_, err := r.wait(t)
	if !errors.Is(err, ErrNotFinite) {
		t.Fatalf("the job ended with %v, want ErrNotFinite", err)
	}
	if got, want := params.Hash(r.store.Hold().Parameters), params.Hash(inOrder(t, cfg.Job, always())); got != want {
		t.Error("the parameters have changed")
	}
}

func TestAStopMakesStepsUnderWayWhole(t *testing.T) {
	cfg := relaxedConfig(t, "async")
	r := run(t, newServer(t, cfg))
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	late := next(t, b)
	a.obey(next(t, a))
	next(t, a) // step 1, of which nothing comes
	a.stream.Close()
	r.cancel()
	for {
		var ending bool
		if err := r.do(t.Context(), func() { ending = r.relaxed.ending }); err != nil {
			t.Fatal(err)
		}
		if ending {
			break
		}
	}
	b.obey(late)
	b.stream.Close()
	result, err := r.wait(t)
	if !errors.Is(err, ErrStopped) || result.Torn || result.Step != 1 || result.Samples != 2 {
		t.Fatalf("ended with %v, result %+v", err, result)
	}
	checkOrder(t, result, nil, cfg.Job, always(piece{0, node(0, 1)}, piece{0, node(1, 2)}))

	// The job goes on from there, as if nothing had been.
	r = run(t, newServer(t, cfg))
	c := newPuppet(t, r.Server, "c")
	c.toil()
	result, err = r.wait(t)
	checkOrder(t, result, err, cfg.Job, always(piece{0, node(0, 1)}, piece{0, node(1, 2)}, piece{1, node(0, 2)}, piece{2, node(0, 2)}))
}

func TestAStopSavesNothingOfStepsThatStayIncomplete(t *testing.T) {
	cfg := relaxedConfig(t, "async")
	cfg.DrainTimeout = 10 * time.Millisecond
	r := run(t, newServer(t, cfg))
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	next(t, b)
	a.obey(next(t, a))
	a.stream.Close()
	b.stream.Close()
	r.cancel()
	result, err := r.wait(t)
	if !errors.Is(err, ErrStopped) || !result.Torn || result.Checkpoint != "" || result.Resumes != 0 {
		t.Fatalf("ended with %v, result %+v", err, result)
	}
	r = run(t, newServer(t, cfg))
	c := newPuppet(t, r.Server, "c")
	c.toil()
	result, err = r.wait(t)
	checkOrder(t, result, err, cfg.Job, always(piece{0, node(0, 2)}, piece{1, node(0, 2)}, piece{2, node(0, 2)}))
}

func TestACheckpointIsOfOneStepInARelaxedJob(t *testing.T) {
	cfg := relaxedConfig(t, "async")
	r := run(t, newServer(t, cfg))
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	first := next(t, b)
	a.obey(next(t, a))
	second := next(t, a) // has been given out, so it is waited for
	saved := make(chan *musterv1.CheckpointResponse, 1)
	go func() {
		c, err := r.Checkpoint(t.Context())
		if err != nil {
			t.Error(err)
		}
		saved <- c
	}()
	for {
		var asked bool
		if err := r.do(t.Context(), func() { asked = len(r.relaxed.saves) > 0 }); err != nil {
			t.Fatal(err)
		}
		if asked {
			break
		}
	}
	a.obey(second)
	if !idle(t, r.Server, "a") {
		t.Error("a was given a step that the checkpoint does not wait for")
	}
	b.obey(first)
	b.obey(next(t, b))
	c := <-saved
	if c == nil || c.Step != 2 {
		t.Fatalf("the checkpoint is %v, want one of step 2", c)
	}
	state, err := checkpoint.Read(c.Path)
	if err != nil {
		t.Fatal(err)
	}
	order := []piece{{0, node(0, 1)}, {1, node(0, 1)}, {0, node(1, 2)}, {1, node(1, 2)}}
	if params.Hash(state.Parameters) != params.Hash(inOrder(t, cfg.Job, always(order...))) || state.Samples != 4 {
		t.Errorf("the checkpoint of step %d with %d samples is not that of two whole steps", state.Step, state.Samples)
	}
	go a.toil()
	b.toil()
	result, err := r.wait(t)
	checkOrder(t, result, err, cfg.Job, always(append(order, piece{2, node(0, 1)})...))
}

func TestTimeIsUpInARelaxedJob(t *testing.T) {
	cfg := relaxedConfig(t, "async")
	cfg.MaxTime = 1
	r := run(t, newServer(t, cfg))
	a, b := pinnedPuppet(t, r.Server, "a", 0), pinnedPuppet(t, r.Server, "b", 1)
	first := next(t, b)
	a.obey(next(t, a))
	second := next(t, a) // had begun before the first step was whole
	b.obey(first)
	a.obey(second)
	go a.toil()
	b.toil()
	result, err := r.wait(t)
	checkOrder(t, result, err, cfg.Job, always(piece{0, node(0, 1)}, piece{0, node(1, 2)}, piece{1, node(0, 1)}, piece{1, node(1, 2)}))
	if result.Step != 2 || len(result.Epochs) != 1 {
		t.Errorf("ended at step %d with %d evaluations, want 2 and 1", result.Step, len(result.Epochs))
	}
}

// Nothing is shared in a relaxed job, but what would go over a connection does.
func TestRelaxedJobsExchangeCopies(t *testing.T) {
	cfg := relaxedConfig(t, "async")
	cfg.SharedMemory, cfg.Job.Encoding = true, "bf16"
	r := run(t, newServer(t, cfg))
	if r.store.shared != nil {
		t.Error("the server offers memory whose values change while they are read")
	}
	p := newPuppet(t, r.Server, "w")
	next(t, p)
	if p.stream.Shared() != nil {
		t.Error("a worker in the process is shown the server's vectors")
	}
	want := inOrder(t, cfg.Job, always())
	kernel.Round(want, want)
	if params.Hash(p.vector) != params.Hash(want) {
		t.Error("the parameters that were sent are not the rounded ones")
	}
	p.stream.Close()
}
