package paramserver

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	"github.com/muster-train/muster/paramserver/optim"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func rounded(x []float32) []float32 {
	r := make([]float32, len(x))
	kernel.Round(r, x)
	return r
}

// TestBfloat16JobsRoundSumsAndWhatWorkersSee makes a step of gradients whose sums
// are no bfloat16s, over a stream, and looks at all that can be seen of it.
func TestBfloat16JobsRoundSumsAndWhatWorkersSee(t *testing.T) {
	cfg := testConfig(t)
	cfg.Job.Encoding, cfg.SharedMemory = "bf16", true
	r, conn := serve(t, cfg)
	api := musterv1.NewMusterServiceClient(conn)
	layout := r.network.Layout
	size := layout.Size()
	if layout.Chunks() != 1 || layout.Live(0) != size {
		t.Fatal("the test wants a network of one chunk")
	}
	initial := params.NewVector(size)
	r.network.Initialise(initial, cfg.Job.Seed)
	var gradients [2][]float32
	for i := range size {
		gradients[0] = append(gradients[0], 256)
		gradients[1] = append(gradients[1], float32(1+i%3)) // 257 is rounded down, 258 a bfloat16, 259 rounded up
	}
	after := func(add func(dst, x, y []float32)) []float32 {
		sum, w, v := make([]float32, size), params.NewVector(size), params.NewVector(size)
		add(sum, gradients[0], gradients[1])
		rule(cfg.Job).Apply(w, v, initial, make([]float32, size), sum, 0.5, cfg.Job.LearningRate, false)
		return w
	}
	want := after(kernel.AddRound)
	if slices.Equal(want, after(kernel.Add)) || slices.Equal(want, rounded(want)) || slices.Equal(initial, rounded(initial)) {
		t.Fatal("rounding changes nothing: the case does not tell")
	}

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, _ := openStream(t, conn, joinRequest(r.Server, "w"), 0)
	// told follows the stream up to the work of a step and its parameters, and returns these.
	told := func(step uint64) []float32 {
		t.Helper()
		var last *musterv1.ParametersChunk
		for asked := false; !asked || last.GetStep() != step || last == nil; {
			m, err := stream.Recv()
			if err != nil {
				t.Fatal(err)
			}
			if p := m.GetParameters(); p != nil {
				last = p
			}
			asked = asked || m.GetWork() != nil && m.GetWork().Step == step
		}
		values := make([]float32, size)
		if last.GetEncoding() != musterv1.Encoding_ENCODING_BF16 || last.Step != step || wire.Decode(values, last) != nil {
			t.Fatalf("step %d: the last parameters were of step %d, in %v", step, last.GetStep(), last.GetEncoding())
		}
		return values
	}
	if !slices.Equal(told(0), rounded(initial)) {
		t.Error("what is sent of the initial parameters is not these, rounded")
	}
	tallies := &musterv1.Tallies{Kind: kindGradient, Tallies: []*musterv1.Tally{{Shard: 0, Images: 1}, {Shard: 1, Images: 1}}}
	stream.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: tallies}})
	for shard, values := range gradients {
		g := wire.Gradient{First: uint32(shard), End: uint32(shard) + 1, Payload: wire.Encode(musterv1.Encoding_ENCODING_BF16, values)}
		stream.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: g.Message()}})
	}
	if !slices.Equal(told(1), rounded(want)) {
		t.Error("what is sent after a step is not the parameters, rounded")
	}

	if !slices.Equal(r.store.View(1, 0), rounded(want)) {
		t.Error("a worker within the process sees other parameters than are sent")
	}
	if memory := r.store.shared; memory != nil && !slices.Equal(memory.Vector(1), rounded(want)) {
		t.Error("a worker that shares memory sees other parameters than are sent")
	}
	pulled, err := api.Pull(ctx, &musterv1.PullRequest{})
	if err != nil {
		t.Fatal(err)
	}
	got := make([]float32, size)
	if c := pulled.Parameters[0]; wire.Decode(got, c) != nil || c.Encoding != musterv1.Encoding_ENCODING_F32 || !slices.Equal(got, want) {
		t.Error("Pull does not give the parameters as they are")
	}
	saved, err := api.Checkpoint(ctx, &musterv1.CheckpointRequest{})
	if err != nil {
		t.Fatal(err)
	}
	state, err := checkpoint.Read(saved.Path)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(state.Parameters, want) {
		t.Error("the checkpoint does not hold the parameters as they are")
	}

	r.cancel()
	_, _ = r.wait(t)
	again := newServer(t, cfg)
	if v := again.store.Hold(); v.Step != 1 || !slices.Equal(v.Parameters, want) || !slices.Equal(again.store.View(1, 0), rounded(want)) {
		t.Error("a server that goes on from the checkpoint has other parameters, or shows others")
	}
}

// TestWhatWorkersSeeIsRoundedBesideTheParameters compares a store that rounds with
// one that doesn't, over more values than updates keep in the caches.
func TestWhatWorkersSeeIsRoundedBesideTheParameters(t *testing.T) {
	layout, err := params.NewLayout([]params.Tensor{{Name: "w", Shape: []int{farValues + params.ChunkValues + 77}}})
	if err != nil {
		t.Fatal(err)
	}
	vector := func(of func(i int) float32) []float32 {
		v := params.NewVector(layout.Size())
		for i := range v {
			v[i] = of(i)
		}
		return v
	}
	start := vector(func(i int) float32 { return float32(i%1001) / 7 })
	g := vector(func(i int) float32 { return float32(i%13) / 3 })
	made := func(round, share bool) *Store {
		s := NewStore(layout, optim.Rule{Momentum: 0.9, WeightDecay: 0.01}, 7, 0, slices.Clone(start), params.NewVector(layout.Size()))
		if round {
			s.round()
		}
		if share {
			memory, err := wire.NewSegment(2, layout.Size())
			if err != nil {
				t.Skipf("%s needs memory that processes can share: %v", t.Name(), err)
			}
			s.share(memory)
		}
		return s
	}
	plain := made(false, false)
	if &plain.Vectors()[0][0] != &plain.parameters[0][0] || &plain.Vectors()[1][0] != &plain.parameters[1][0] {
		t.Error("where nothing is rounded workers see copies")
	}
	for _, share := range []bool{false, true} {
		plain, rounding := made(false, share), made(true, share)
		for step := params.Step(7); step < 10; step++ {
			want, got := plain.Hold(), rounding.Hold()
			if !slices.Equal(got.Parameters, want.Parameters) || !slices.Equal(got.Momentum, want.Momentum) {
				t.Fatalf("step %d: the parameters are not those of a store that rounds nothing", step)
			}
			seen := rounded(want.Parameters)
			if !slices.Equal(rounding.Vectors()[step%2], seen) || !slices.Equal(plain.Vectors()[step%2], want.Parameters) {
				t.Fatalf("step %d: workers see other parameters than they should", step)
			}
			for chunk := range layout.Chunks() {
				of := layout.Chunk(chunk)
				p := rounding.Read(step, chunk)
				if p.Len() != 2*of.Len() || !slices.Equal(decoded(t, p), of.Of(seen)) || !slices.Equal(rounding.View(step, chunk), of.Of(seen)) {
					t.Fatalf("step %d, chunk %d: other parameters are sent than workers see", step, chunk)
				}
				p.Free()
			}
			want.Release()
			got.Release()
			for chunk := range layout.Chunks() {
				for _, s := range []*Store{plain, rounding} {
					if !s.Apply(chunk, layout.Chunk(chunk).Of(g), 0.5, 0.25) {
						t.Fatal("what was made is not finite")
					}
				}
			}
			plain.Commit(1)
			rounding.Commit(1)
		}
	}
	bad := made(true, false)
	g[9000] = float32(math.Inf(1))
	if bad.Apply(0, layout.Chunk(0).Of(g), 1, 1) || bad.Has(8, 0) {
		t.Error("parameters that are not finite can be read")
	}
}

// decoded is the values of a payload that is to be sent.
func decoded(t *testing.T, p *wire.Payload) []float32 {
	t.Helper()
	m := (&wire.Parameters{Payload: p}).Message()
	values := make([]float32, len(m.Payload)/2)
	if err := wire.Decode(values, m); err != nil {
		t.Fatal(err)
	}
	return values
}

// TestChunksInAnotherEncodingAreMalformed pushes a chunk in every encoding to jobs of
// every encoding: right, a value short, and with one that is not finite.
func TestChunksInAnotherEncodingAreMalformed(t *testing.T) {
	const none = musterv1.RefusalReason_REFUSAL_REASON_UNSPECIFIED
	for _, job := range []wire.Encoding{wire.F32, wire.BF16, wire.INT8} {
		cfg := testConfig(t)
		cfg.Job.Encoding = job.String()
		r, conn := serve(t, cfg)
		api := musterv1.NewMusterServiceClient(conn)
		joined, err := api.Join(t.Context(), joinRequest(r.Server, "w"))
		if err != nil {
			t.Fatal(err)
		}
		next(t, newPuppet(t, r.Server, "other")) // the round is open
		push := func(e musterv1.Encoding, values []float32, want musterv1.RefusalReason) {
			t.Helper()
			g := wire.Gradient{End: 1, Payload: wire.Encode(e, values)}
			answer, err := api.Push(t.Context(), &musterv1.PushRequest{Session: joined.Session, Gradients: []*musterv1.GradientChunk{g.Message()}})
			if err != nil {
				t.Fatal(err)
			}
			got := none
			if len(answer.Refusals) > 0 {
				got = answer.Refusals[0].Reason
			}
			if got != want {
				t.Errorf("a job with %v, %d values in %v: refused as %v, want %v", job, len(values), e, got, want)
			}
		}
		for _, e := range wire.Spoken() {
			values := make([]float32, r.network.Layout.Live(0))
			if e != job.Gradients() {
				push(e, values, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED)
				continue
			}
			push(e, values[1:], musterv1.RefusalReason_REFUSAL_REASON_MALFORMED)
			values[len(values)-1] = float32(math.Inf(-1))
			push(e, values, musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE)
			values[len(values)-1] = 1
			push(e, values, none)
		}
	}
}

func TestWorkersThatLackTheJobsEncodingAreRefused(t *testing.T) {
	const f32, bf16, int8 = musterv1.Encoding_ENCODING_F32, musterv1.Encoding_ENCODING_BF16, musterv1.Encoding_ENCODING_INT8
	for _, tc := range []struct {
		job   string
		knows []musterv1.Encoding
		want  string // of the refusal; empty: none
	}{
		{"", nil, ""},
		{"", []musterv1.Encoding{f32}, ""},
		{"f32", []musterv1.Encoding{int8, bf16, f32}, ""},
		{"f32", []musterv1.Encoding{bf16}, `job "test" exchanges f32, which takes chunks in f32; the worker knows bf16: their versions differ`},
		{"bf16", []musterv1.Encoding{bf16}, ""},
		{"bf16", nil, `job "test" exchanges bf16, which takes chunks in bf16; the worker knows f32`},
		{"bf16", []musterv1.Encoding{f32, int8}, `which takes chunks in bf16; the worker knows f32, int8`},
		{"int8", []musterv1.Encoding{bf16, int8}, ""},
		{"int8", []musterv1.Encoding{f32, bf16}, `job "test" exchanges int8, which takes chunks in int8; the worker knows f32, bf16`},
		{"int8", []musterv1.Encoding{int8}, `which takes chunks in bf16; the worker knows int8`},
	} {
		cfg := testConfig(t)
		cfg.Job.Encoding = tc.job
		s, err := New(cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = service{server: s}.Join(t.Context(), &musterv1.JoinRequest{Worker: "w", Encodings: tc.knows})
		if tc.want == "" && err != nil || tc.want != "" && (status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("job with %q, worker with %v: %v; want %q", tc.job, tc.knows, err, tc.want)
		}
	}
}
