package worker

import (
	"errors"
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

const (
	inF32  = musterv1.Encoding_ENCODING_F32
	inBF16 = musterv1.Encoding_ENCODING_BF16
	inINT8 = musterv1.Encoding_ENCODING_INT8
)

// encodedJob is testJob with an encoding.
func encodedJob(encoding string) *musterv1.JobSpec {
	j := testJob()
	j.Encoding = encoding
	return j
}

// What a worker computes and sends with bf16 are bfloat16s, two bytes each where they
// travel and in place where they don't.
func TestBfloat16SumsAreSentAsTheyAre(t *testing.T) {
	sharedSums := func(n, size int) (sums [][]float32) {
		for range n {
			sums = append(sums, params.NewVector(size))
		}
		return sums
	}
	for _, tc := range []struct {
		name      string
		shared    func(size int) *wire.Shared
		encodings []musterv1.Encoding // of the sums of shards 0 and 1, and of shard 3
	}{
		{"over the stream", func(int) *wire.Shared { return nil }, []musterv1.Encoding{inBF16, inBF16}},
		{"in one process", func(int) *wire.Shared { return &wire.Shared{} }, []musterv1.Encoding{inF32, inF32}},
		{"in shared memory", func(size int) *wire.Shared { return &wire.Shared{Sums: sharedSums(2, size)} }, []musterv1.Encoding{inF32, inF32}},
		{"in shared memory with room for one", func(size int) *wire.Shared { return &wire.Shared{Sums: sharedSums(1, size)} }, []musterv1.Encoding{inF32, inBF16}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDirector(t)
			d.job = encodedJob("bf16")
			ref := newReference(t, d.job)
			layout := ref.net.Layout
			parameters := loadedIn(inBF16, ref.net, 1)
			if d.shared = tc.shared(layout.Size()); d.shared != nil {
				for i := range d.shared.Parameters {
					d.shared.Parameters[i] = params.NewVector(layout.Size())
				}
				kernel.Round(d.shared.Parameters[1], vector(ref.net, 1))
				parameters = toldIn(inBF16, layout, 1)
			}
			run(t, testConfig(t), d)
			l := d.admit()
			l.tell(assigned(0, 1, 3))
			l.tell(parameters...)
			l.tell(asked(gradientKind, 1))
			c := l.contribute(ref.net, 1, 2)
			ref.check(c, 1, []int{0, 1, 3})
			if !slices.Equal(c.encodings, tc.encodings) {
				t.Errorf("sums were sent in %v, want %v", c.encodings, tc.encodings)
			}
			l.tell(done(true, ""))
		})
	}
}

// What of a step is computed again in the server's process goes as float32s too.
func TestWithinAProcessNothingIsEncoded(t *testing.T) {
	for _, encoding := range []string{"bf16", "int8"} {
		d := newDirector(t)
		d.job = encodedJob(encoding)
		ref := newReference(t, d.job)
		d.shared = &wire.Shared{Parameters: [2][]float32{nil, params.NewVector(ref.net.Layout.Size())}}
		kernel.Round(d.shared.Parameters[1], vector(ref.net, 1))
		run(t, testConfig(t), d)
		l := d.admit()
		l.tell(assigned(2))
		l.tell(toldIn(inBF16, ref.net.Layout, 1)...)
		l.tell(asked(gradientKind, 1))
		for range 2 { // in place, then by a message
			c := l.contribute(ref.net, 1, 1)
			ref.check(c, 1, []int{2})
			if !slices.Equal(c.encodings, []musterv1.Encoding{inF32}) {
				t.Errorf("%s: a sum was sent in %v", encoding, c.encodings)
			}
			l.tell(refusal(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, 1, 2, 3))
		}
		l.contribute(ref.net, 1, 1)
		l.tell(done(true, ""))
	}
}

func TestParametersComeInTheJobsEncoding(t *testing.T) {
	for _, tc := range []struct {
		job, sent musterv1.Encoding
		encoding  string
	}{
		{inF32, inBF16, ""}, {inF32, inINT8, "f32"}, {inBF16, inF32, "bf16"}, {inBF16, inINT8, "int8"}, {inBF16, inF32, "int8"},
	} {
		job := encodedJob(tc.encoding)
		cfg := testConfig(t)
		task, err := newTask(&cfg, job, wire.JobHash(job))
		if err != nil {
			t.Fatal(err)
		}
		load := func(e musterv1.Encoding) error {
			r := wire.ResponseOf(loadedIn(e, networkOf(t, job), 1)[0])
			defer r.Free()
			return task.load(&r.Parameters)
		}
		if err := load(tc.sent); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("parameters in %v for a job with encoding %q: %v", tc.sent, tc.encoding, err)
		}
		if err := load(tc.job); err != nil {
			t.Errorf("parameters in %v for a job with encoding %q: %v", tc.job, tc.encoding, err)
		}
		task.close()
	}
}

// quantized computes what must come of a worker's sums in int8, chunk by chunk.
type quantized map[params.Node][]wire.Feedback

func (q quantized) of(t *testing.T, layout *params.Layout, node params.Node, step uint64, sum []float32) []float32 {
	t.Helper()
	if q[node] == nil {
		q[node] = make([]wire.Feedback, layout.Chunks())
	}
	all := slices.Clone(sum)
	for c := range layout.Chunks() {
		live := make([]float32, layout.Live(c))
		layout.Pack(live, sum, c)
		g := wire.Gradient{Payload: q[node][c].Encode(step, live)}
		if err := wire.Decode(live, g.Message()); err != nil {
			t.Fatal(err)
		}
		values := layout.Chunk(c).Of(all)
		copy(values, layout.Unpack(values, live, c))
	}
	return all
}

// What int8 cuts off a step's sums goes with the next step's: once, however often
// the step is computed, and not where shards have moved or a stream has begun.
func TestInt8SumsMakeUpForWhatWasCutOff(t *testing.T) {
	d := newDirector(t)
	d.job = encodedJob("int8")
	ref := newReference(t, d.job)
	layout := ref.net.Layout
	run(t, testConfig(t), d)
	l := d.admit()
	want := quantized{}
	expect := func(step uint64, nodes ...params.Node) {
		t.Helper()
		c := l.contribute(ref.net, step, len(nodes))
		for i, node := range nodes {
			if c.nodes[i] != node || c.encodings[i] != inINT8 {
				t.Fatalf("step %d: %v was sent in %v, want %v in %v", step, c.nodes[i], c.encodings[i], node, inINT8)
			}
			sum := ref.sum(node, step)
			got := want.of(t, layout, node, step, sum)
			if !sameBits(c.sums[i], got) {
				t.Errorf("step %d, shards %v: other values were sent than sums and residuals make", step, node)
			}
			if sameBits(got, sum) {
				t.Errorf("step %d, shards %v: int8 cuts nothing off: the case does not tell", step, node)
			}
		}
	}
	begin := func(step uint64, shards ...uint32) {
		if len(shards) > 0 {
			l.tell(assigned(shards...))
		}
		l.tell(loadedIn(inBF16, ref.net, step)...)
		l.tell(asked(gradientKind, step))
	}
	both, fourth := params.Node{First: 0, End: 2}, params.Leaf(3)
	begin(0, 0, 1, 3)
	expect(0, both, fourth)
	begin(1)
	expect(1, both, fourth)
	for _, reason := range []musterv1.RefusalReason{musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE, musterv1.RefusalReason_REFUSAL_REASON_MALFORMED} {
		l.tell(refusal(reason, 1, 0, 2))
		expect(1, both)
	}
	begin(3) // at step 2 the fourth shard has no images, and step 3 is as good
	expect(3, both, fourth)
	l.tell(assigned(0, 1, 3)) // as before
	begin(4)
	expect(4, both, fourth)

	want = quantized{}
	begin(6, 0, 1)
	expect(6, both)
	begin(7)
	expect(7, both)

	want = quantized{}
	l.cut(errors.New("connection reset"))
	l = d.admit()
	begin(9, 0, 1)
	expect(9, both)
	begin(10)
	expect(10, both)
	l.tell(done(true, ""))
}

// A node that was sent for a single step, when a shard came over in its midst, leaves
// nothing behind.
func TestResidualsOfNodesThatAreNoLongerSentAreForgotten(t *testing.T) {
	d := newDirector(t)
	d.job = encodedJob("int8")
	ref := newReference(t, d.job)
	w, err := New(testConfig(t), d)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- w.Run(t.Context()) }()
	l := d.admit()
	l.tell(assigned(1))
	l.tell(loadedIn(inBF16, ref.net, 0)...)
	l.tell(asked(gradientKind, 0))
	l.contribute(ref.net, 0, 1)
	l.tell(assigned(0, 1), asked(gradientKind, 0))
	l.contribute(ref.net, 0, 1)
	for _, step := range []uint64{1, 3} {
		l.tell(loadedIn(inBF16, ref.net, step)...)
		l.tell(asked(gradientKind, step))
		l.contribute(ref.net, step, 1)
	}
	l.tell(done(true, ""))
	if err := await(t, ended, "the worker's end"); err != nil {
		t.Fatal(err)
	}
	if r := w.task.outgoing.encoder.residuals; len(r) != 1 || r[params.Node{First: 0, End: 2}] == nil {
		t.Errorf("residuals of %d nodes are kept, want those of shards 0-1 alone", len(r))
	}
}

// What is sent of a chunk in any encoding is its live values, encoded, and in int8
// what was cut off before is added, but not to copies of sums that the server sees.
func TestLiveValuesAloneAreEncoded(t *testing.T) {
	layout, err := params.NewLayout([]params.Tensor{{Name: "conv", Shape: []int{100_000, 3}, Zero: []bool{true, false, true}}})
	if err != nil {
		t.Fatal(err)
	}
	sum := params.NewVector(layout.Size())
	for i := range sum {
		if i%3 == 1 {
			sum[i] = float32(i%1000) / 512
		}
	}
	kernel.Round(sum, sum)
	for _, e := range []musterv1.Encoding{inF32, inBF16, inINT8} {
		for copies := range 2 {
			var feedback [2]wire.Feedback
			o := &outgoing{encoder: Encoder{Layout: layout, Encoding: e}, copies: copies, sum: func(int) []float32 { return sum }, sent: func(int) {}}
			for step := uint64(1); step <= 2; step++ {
				o.begin(step, twoNodes[:1], 0, func(r *wire.Request) error {
					g := &r.Gradient
					defer r.Free()
					live := layout.Pack(make([]float32, layout.Live(int(g.Chunk))), sum, int(g.Chunk))
					want := wire.Encode(e, live)
					if e == inINT8 && copies == 0 {
						want = feedback[g.Chunk].Encode(step, live)
					}
					if got, want := wire.RequestOf(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: g.Message()}}),
						wire.RequestOf(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: (&wire.Gradient{Payload: want}).Message()}}); got.Gradient.Payload.Check(len(live), e) != nil || !sameBits(got.Gradient.Payload.Floats(), want.Gradient.Payload.Floats()) {
						t.Errorf("%v, copies %d, step %d, chunk %d: other values were sent than the live ones", e, copies, step, g.Chunk)
					}
					return nil
				})
				if err := o.finish(true); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
