package paramserver

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// draw fills x with numbers of which some are zeros of either sign, as activations and
// masks leave them.
func draw(x []float32, seed uint64) {
	s := philox.New(seed, 300<<16, 0, 0)
	for i := range x {
		switch v := s.Float32() - 0.5; {
		case v > 0.4:
			x[i] = 0
		case v < -0.4:
			x[i] = float32(math.Copysign(0, -1))
		default:
			x[i] = v
		}
	}
}

// chains is the product by the rule written out.
func chains(activations, deltas []float32, images, in, out int) []float32 {
	sum := make([]float32, in*out)
	for n := range images {
		for k := range out {
			for i := range in {
				sum[k*in+i] = kernel.FMA(deltas[n*out+k], activations[n*in+i], sum[k*in+i])
			}
		}
	}
	return sum
}

func bitsOf(x []float32) []uint32 {
	u := make([]uint32, len(x))
	for i, v := range x {
		u[i] = math.Float32bits(v)
	}
	return u
}

// A chunk may begin and end anywhere in the matrix; matrices may be narrower than a
// kernel's columns, and what lies behind the factors is not to be seen.
func TestAnyPartOfAProductIsItsChains(t *testing.T) {
	for _, in := range []int{1, 5, 16, 33, 70} {
		for _, out := range []int{1, 3, 15, 40} {
			for _, images := range []int{1, 2, 19} {
				factors := make([]float32, images*(in+out), images*(in+out)+kernel.Lanes)
				draw(factors, uint64(in*out))
				for i := range kernel.Lanes {
					factors[:cap(factors)][len(factors)+i] = float32(math.NaN())
				}
				want := bitsOf(chains(factors[:images*in], factors[images*in:], images, in, out))
				size := in * out
				for _, part := range []params.Range{{First: 0, End: size}, {First: size / 3, End: size}, {First: 0, End: size - size/3}, {First: size / 7, End: size - size/5}, {First: in - 1, End: in}, {First: size - 1, End: size}} {
					got := make([]float32, part.Len()+2)
					got[part.Len()], got[part.Len()+1] = 7, 7
					multiply(got[:part.Len()], part.First, factors, images, in, out)
					if fmt.Sprint(bitsOf(got[:part.Len()])) != fmt.Sprint(want[part.First:part.End]) {
						t.Errorf("in %d, out %d, %d images: values %v are not their chains", in, out, images, part)
					}
					if got[part.Len()] != 7 || got[part.Len()+1] != 7 {
						t.Errorf("in %d, out %d, %d images: values behind %v were written to", in, out, images, part)
					}
				}
			}
		}
	}
}

func TestFormingAChunkAllocatesNothing(t *testing.T) {
	const in, out, images = 40, 20, 3
	factors := make([]float32, images*(in+out), images*(in+out)+kernel.Lanes)
	dst := make([]float32, in*out-9)
	if n := testing.AllocsPerRun(5, func() { multiply(dst, 5, factors, images, in, out) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// factorsConfig is a job of two shards, of 3 and of 2 images in its only step, with a
// network of three chunks, of which the middle one may come as factors.
func factorsConfig(t *testing.T) Config {
	c := testConfig(t)
	c.Job.Encoding, c.Job.Classes, c.Job.Batch = "factors", 8000, 8
	return c
}

// factorsOf makes the factors of a shard's gradient, and its gradient of the chunk.
func factorsOf(s *Server, shard int) (wire.Factors, []float32) {
	of := s.network.Factored(int(s.job.Batch))[0]
	n := images(s, shard, 0)
	f := wire.Factors{Shard: uint32(shard), Tensor: uint32(of.Tensor), Images: uint32(n), Values: wire.NewOperands(of.Values(n))}
	values := f.Values.Floats()
	draw(values, uint64(shard))
	all := chains(values[:n*of.In], values[n*of.In:], n, of.In, of.Out)
	first := of.Whole().First - of.Weight.First
	return f, all[first : first+params.ChunkValues]
}

func (p *puppet) pushFactors(f wire.Factors) {
	p.t.Helper()
	if err := p.stream.Send(&wire.Request{Factors: f}); err != nil {
		p.t.Fatalf("%s: send: %v", p.id, err)
	}
}

func (p *puppet) pushValues(d params.Node, chunk int, values []float32) {
	p.t.Helper()
	payload := wire.NewPayload(len(values))
	copy(payload.Floats(), values)
	if err := p.stream.Send(&wire.Request{Gradient: wire.Gradient{First: uint32(d.First), End: uint32(d.End), Chunk: uint32(chunk), Payload: payload}}); err != nil {
		p.t.Fatalf("%s: send: %v", p.id, err)
	}
}

// Whoever contributes what, as factors or as sums, once or again, the bits are those
// of sums.
func TestFactorsCountAsTheSumsThatTheyAre(t *testing.T) {
	var f [2]wire.Factors
	var leaf [2][]float32
	var both []float32
	again := func(i int) wire.Factors { f[i].Values.Share(1); return f[i] }
	want := ""
	for _, tc := range []struct {
		name     string
		repeated uint64
		push     func(p *puppet)
	}{
		{"sums", 0, func(p *puppet) { p.pushValues(node(0, 2), 1, both) }},
		{"leaves", 0, func(p *puppet) { p.pushValues(node(1, 2), 1, leaf[1]); p.pushValues(node(0, 1), 1, leaf[0]) }},
		{"factors", 0, func(p *puppet) { p.pushFactors(again(0)); p.pushFactors(again(1)) }},
		{"factors in the other order", 0, func(p *puppet) { p.pushFactors(again(1)); p.pushFactors(again(0)) }},
		{"factors twice", 1, func(p *puppet) { p.pushFactors(again(1)); p.pushFactors(again(1)); p.pushFactors(again(0)) }},
		{"factors and a leaf", 0, func(p *puppet) { p.pushFactors(again(1)); p.pushValues(node(0, 1), 1, leaf[0]) }},
		{"factors behind their leaf", 1, func(p *puppet) {
			p.pushValues(node(0, 1), 1, leaf[0])
			p.pushFactors(again(0))
			p.pushFactors(again(1))
		}},
		{"a sum behind factors of a part of it", 0, func(p *puppet) { p.pushFactors(again(0)); p.pushValues(node(0, 2), 1, both) }},
		{"factors behind the sum", 1, func(p *puppet) { p.pushValues(node(0, 2), 1, both); p.pushFactors(again(0)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := run(t, newServer(t, factorsConfig(t)))
			layout := r.network.Layout
			if layout.Chunks() != 3 || len(r.factored) != 1 {
				t.Fatalf("the test wants a network of 3 chunks with one tensor as factors: %d chunks, %+v", layout.Chunks(), r.factored)
			}
			if both == nil {
				for i := range f {
					f[i], leaf[i] = factorsOf(r.Server, i)
				}
				both = make([]float32, params.ChunkValues)
				kernel.Add(both, leaf[0], leaf[1])
			}
			p := newPuppet(t, r.Server, "w")
			w := next(t, p)
			p.push(0, node(0, 2), 0)
			tc.push(p)
			if got := look(t, r.Server).RepeatedContributions; got != tc.repeated {
				t.Errorf("%d repeats were counted, want %d", got, tc.repeated)
			}
			p.tallies(w, 0, 1)
			p.push(0, node(0, 2), 2)
			p.toil()
			result, err := r.wait(t)
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = result.Hash
			}
			if result.Hash != want || result.Step != 1 {
				t.Errorf("step %d, parameters %s, want those of sums, %s", result.Step, result.Hash, want)
			}
		})
	}
}

// What is wrong with factors is refused by name, once for all their chunks, and what is
// right counts after it.
func TestFactorsThatDoNotCount(t *testing.T) {
	const malformed, notFinite = musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE
	r := run(t, newServer(t, factorsConfig(t)))
	p := newPuppet(t, r.Server, "w")
	w := next(t, p)
	good, _ := factorsOf(r.Server, 0)
	of := r.factored[0]
	size := of.Values(3)
	resized := func(f *wire.Factors, n int) { f.Values = wire.NewOperands(n); clear(f.Values.Floats()) }
	damaged := good.Message()
	damaged.Checksum++
	encoded := good.Message()
	encoded.Encoding = musterv1.Encoding_ENCODING_BF16
	for i, tc := range []struct {
		change func(f *wire.Factors)
		want   musterv1.RefusalReason
		detail string
	}{
		{func(f *wire.Factors) { f.Tensor-- }, malformed, fmt.Sprintf("tensor %d does not come as factors", of.Tensor-1)},
		{func(f *wire.Factors) { f.Tensor = 1 << 31 }, malformed, "tensor 2147483648 does not come as factors"},
		{func(f *wire.Factors) { resized(f, size-1) }, malformed, fmt.Sprintf("%d bytes of factors, want %d", 4*size-4, 4*size)},
		{func(f *wire.Factors) { resized(f, of.Values(2)) }, malformed, "bytes of factors"},
		{func(f *wire.Factors) { resized(f, of.Values(2)); f.Images = 2 }, malformed, "factors of 2 images, the shard has 3 in this step"},
		{func(f *wire.Factors) { resized(f, 0); f.Images = 0 }, malformed, "factors of 0 images, the shard has 3 in this step"},
		{func(f *wire.Factors) { f.Shard = 2 }, malformed, "no such node or chunk"},
		{func(f *wire.Factors) { f.Shard = math.MaxUint32 }, malformed, "no such node or chunk"},
		{func(f *wire.Factors) { *f = wire.FactorsOf(damaged) }, malformed, "checksum"},
		{func(f *wire.Factors) { *f = wire.FactorsOf(encoded) }, malformed, "encoding ENCODING_BF16, want ENCODING_F32"},
		{func(f *wire.Factors) { resized(f, size); f.Values.Floats()[0] = float32(math.NaN()) }, notFinite, "a value of the factors is NaN or infinite"},
		{func(f *wire.Factors) { resized(f, size); f.Values.Floats()[size-1] = float32(math.Inf(-1)) }, notFinite, "NaN or infinite"},
		{func(f *wire.Factors) { f.Step = 7 }, musterv1.RefusalReason_REFUSAL_REASON_FUTURE, "the step has not begun"},
	} {
		if err := r.do(t.Context(), func() { p.stream.session.malformed.total, p.stream.session.malformed.named = 0, nil }); err != nil { // else the worker is sent away
			t.Fatal(err)
		}
		good.Values.Share(1)
		bad := good
		tc.change(&bad)
		p.pushFactors(bad)
		p.work()
		if len(p.refused) != i+1 || p.refused[i].Reason != tc.want || !strings.Contains(p.refused[i].Detail, tc.detail) {
			t.Fatalf("case %d: refusals %v, want one more for %v: %s", i, p.refused, tc.want, tc.detail)
		}
	}
	p.push(0, node(0, 2), 0)
	p.push(0, node(0, 2), 2)
	p.pushFactors(good)
	p.tallies(w, 0, 1)
	if got := look(t, r.Server); got.RepeatedContributions != 0 || got.RefusedMalformed != 11 || got.RefusedNotFinite != 2 || got.Step != 0 {
		t.Errorf("step %d, %d repeats, %d malformed, %d not finite: want step 0, none, 11 and 2", got.Step, got.RepeatedContributions, got.RefusedMalformed, got.RefusedNotFinite)
	}
	other, _ := factorsOf(r.Server, 1)
	p.pushFactors(other)
	evaluation := p.work()
	if evaluation == nil || evaluation.Kind != kindEvaluate {
		t.Fatalf("the step is not whole: asked for %v", evaluation)
	}
	p.pushFactors(wire.FactorsOf(goodAgain(r.Server)))
	p.work()
	if n := len(p.refused); n != 14 || p.refused[n-1].Reason != musterv1.RefusalReason_REFUSAL_REASON_STALE {
		t.Errorf("refusals %v, want the last for being stale", p.refused)
	}
	p.obey(evaluation)
	p.toil()
	if _, err := r.wait(t); err != nil {
		t.Fatal(err)
	}
}

func goodAgain(s *Server) *musterv1.Factors {
	f, _ := factorsOf(s, 0)
	return f.Message()
}

// A product that is not finite can't be seen in its factors: the update is not applied,
// and the job ends.
func TestFactorsWhoseProductOverflowsEndTheJob(t *testing.T) {
	r := run(t, newServer(t, factorsConfig(t)))
	p := newPuppet(t, r.Server, "w")
	w := next(t, p)
	for shard := range 2 {
		f, _ := factorsOf(r.Server, shard)
		for i := range f.Values.Floats() {
			f.Values.Floats()[i] = 1e30
		}
		p.pushFactors(f)
	}
	p.push(0, node(0, 2), 0)
	p.push(0, node(0, 2), 2)
	p.tallies(w, 0, 1)
	if _, err := r.wait(t); err == nil || !strings.Contains(err.Error(), "made parameters NaN or infinite and was not applied") {
		t.Errorf("the job ended with %v", err)
	}
}

// Only jobs with the encoding take factors, and a worker that goes on sending what is
// malformed is sent away.
func TestFactorsInAnotherJobAreMalformed(t *testing.T) {
	cfg := factorsConfig(t)
	cfg.Job.Encoding = ""
	r, conn := serve(t, cfg)
	f, _ := factorsOf(r.Server, 0)
	message := &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Factors{Factors: f.Message()}}
	stream, _ := openStream(t, conn, joinRequest(r.Server, "bad"), 0)
	for range mostMalformed {
		stream.send(message)
	}
	for {
		if _, err := stream.Recv(); err != nil {
			s, _ := status.FromError(err)
			if s.Code() != codes.FailedPrecondition || !strings.Contains(s.Message(), "worker bad sends what it contributes malformed") || !strings.Contains(s.Message(), "does not come as factors in this job") {
				t.Errorf("the stream ended with %v", err)
			}
			return
		}
	}
}

func TestTheEncodingFactorsRefusesWhatDoesNotGoWithIt(t *testing.T) {
	for _, tc := range []struct {
		precision, sync string
		want            string // empty: nothing is wrong
	}{
		{"", "", ""},
		{"f32", "sync", ""},
		{"", "ssp:2", "encoding factors does not go with sync ssp:2: products are parts of the sum of a step; sync is allowed"},
		{"", "async", "encoding factors does not go with sync async"},
		{"bf16", "", "encoding factors does not go with precision bf16: the server forms products of float32s; f32 is allowed"},
	} {
		c := factorsConfig(t)
		c.Job.Precision, c.Job.Sync = tc.precision, tc.sync
		err := c.Validate()
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("precision %q, sync %q: %v, want %q", tc.precision, tc.sync, err, tc.want)
		}
		c.Job.Encoding = "f32"
		if err := c.Validate(); err != nil {
			t.Errorf("f32 with precision %q, sync %q: %v", tc.precision, tc.sync, err)
		}
	}
}

// A product's chunk is formed from the place in the matrix that it has in the tensor.
func TestChunksOfAProductAreThoseOfTheTensor(t *testing.T) {
	of := model.Factored{Weight: params.Range{First: params.ChunkValues - 1000, End: 3*params.ChunkValues + 500}, In: 2*params.ChunkValues + 1500, Out: 1}
	factors := wire.NewOperands(of.Values(1))
	values := factors.Floats()
	for i := range values {
		values[i] = float32(i)
	}
	values[of.In] = 2
	first, end := of.Chunks()
	if first != 1 || end != 3 {
		t.Fatalf("chunks %d to %d, want 1 to 3", first, end)
	}
	factors.Share(1)
	p := product{of: &of, images: 1, factors: factors}
	for chunk := first; chunk < end; chunk++ {
		got := p.form(chunk).Floats()
		for i, v := range got {
			if want := float32(2 * (chunk*params.ChunkValues + i - of.Weight.First)); v != want {
				t.Fatalf("chunk %d, value %d is %v, want %v", chunk, i, v, want)
			}
		}
	}
}
