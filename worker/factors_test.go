package worker

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// factorsJob has a network of three chunks, of which the middle one is factored.
func factorsJob() *musterv1.JobSpec {
	j := encodedJob("factors")
	j.Classes = 8000
	return j
}

// factoredOf is what the job's factors are of.
func factoredOf(t *testing.T, ref *reference) model.Factored {
	t.Helper()
	all := ref.net.Factored(int(ref.job.Batch))
	if len(all) != 1 || ref.net.Layout.Chunks() != 3 {
		t.Fatalf("%d chunks, factored %+v: the test wants three chunks and one tensor", ref.net.Layout.Chunks(), all)
	}
	if first, end := all[0].Chunks(); first != 1 || end != 2 {
		t.Fatalf("factors stand for chunks %d to %d, the test wants the middle one", first, end)
	}
	return all[0]
}

// heardContribution is what a worker sends for a piece of work, in its order: sums as "node chunk",
// factors as "factors of shard".
type heardContribution struct {
	names   []string
	tallies []*musterv1.Tally
}

// hearFactored hears a contribution of the job, and compares each message with what
// shards by themselves give.
func hearFactored(t *testing.T, l *line, ref *reference, step uint64) (c heardContribution) {
	t.Helper()
	of, layout := factoredOf(t, ref), ref.net.Layout
	for {
		m := l.hear()
		switch {
		case m.GetTallies() != nil:
			c.tallies = m.GetTallies().Tallies
			return c
		case m.GetFactors() != nil:
			f := m.GetFactors()
			c.names = append(c.names, fmt.Sprintf("factors of %d", f.Shard))
			n := int(f.Images)
			values := wire.FactorsOf(f).Values
			if err := values.Check(of.Values(n)); err != nil {
				t.Fatal(err)
			}
			if want := ref.cut.Count(int(f.Shard), int(step%3)); f.Step != step || int(f.Tensor) != of.Tensor || n != want {
				t.Errorf("factors of step %d, tensor %d, %d images: want %d, %d and %d", f.Step, f.Tensor, n, step, of.Tensor, want)
			}
			a, d := values.Floats()[:n*of.In], values.Floats()[n*of.In:]
			product := make([]float32, of.In*of.Out)
			for i := range n {
				for k := range of.Out {
					for j := range of.In {
						product[k*of.In+j] = kernel.FMA(d[i*of.Out+k], a[i*of.In+j], product[k*of.In+j])
					}
				}
			}
			if !sameBits(product, of.Weight.Of(ref.at(int(f.Shard), step).gradient)) {
				t.Errorf("step %d: the product of the factors of shard %d is not its gradient", step, f.Shard)
			}
		default:
			g := m.GetGradient()
			node := params.Node{First: int(g.GetNode().GetFirst()), End: int(g.GetNode().GetEnd())}
			chunk := int(g.GetChunk())
			c.names = append(c.names, fmt.Sprintf("%v %d", node, chunk))
			live := make([]float32, layout.Live(chunk))
			if g.GetEncoding() != musterv1.Encoding_ENCODING_SHARED {
				if err := wire.Decode(live, g); err != nil {
					t.Fatal(err)
				}
				want := make([]float32, len(live))
				layout.Pack(want, ref.sum(node, step), chunk)
				if g.Step != step || g.Encoding != inF32 || !sameBits(live, want) {
					t.Errorf("step %d, node %v, chunk %d: other values were sent than the sum has, or of step %d, in %v", step, node, chunk, g.Step, g.Encoding)
				}
			}
		}
	}
}

func (c *heardContribution) expect(t *testing.T, what string, names ...string) {
	t.Helper()
	got, want := slices.Sorted(slices.Values(c.names)), slices.Sorted(slices.Values(names))
	if !slices.Equal(got, want) {
		t.Errorf("%s: sent %q, want %q", what, got, want)
	}
}

// Over a stream each shard's factors go for the chunks that they stand for, and sums of
// nodes for all others; so it is when a shard is computed again. In step 2 two of the
// shards have no images.
func TestFactorsGoInPlaceOfSums(t *testing.T) {
	d := newDirector(t)
	d.job = factorsJob()
	ref := newReference(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0, 1, 3))
	begin := func(step uint64) heardContribution {
		t.Helper()
		l.tell(loaded(ref.net, step)...)
		l.tell(asked(gradientKind, step))
		return hearFactored(t, l, ref, step)
	}
	c := begin(1)
	c.expect(t, "a step", "factors of 0", "factors of 1", "factors of 3", "0-1 0", "0-1 2", "3 0", "3 2")
	// The last layer's go before the layers below are computed.
	if last := c.names[len(c.names)-2:]; !slices.Equal(last, []string{"0-1 0", "3 0"}) {
		t.Errorf("sent in the order %q, want the first layers' chunks last", c.names)
	}
	if len(c.tallies) != 3 {
		t.Errorf("tallies %v, want those of three shards", c.tallies)
	}
	l.tell(refusal(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, 1, 1, 2))
	c = hearFactored(t, l, ref, 1)
	c.expect(t, "a shard again", "factors of 1", "1 0", "1 2")
	c = begin(2)
	c.expect(t, "a step of shards without images", "factors of 0", "factors of 1", "0-1 0", "0-1 2")
	l.tell(done(true, ""))
}

// Where memory is shared, in one process or over a stream, nothing is factored; nor is it
// in a job of another encoding, or where the batch is too large.
func TestNothingIsFactoredWhereThatIsNotLess(t *testing.T) {
	sums := []string{"2 0", "2 1", "2 2"}
	for _, tc := range []struct {
		name   string
		change func(job *musterv1.JobSpec)
		shared func(ref *reference) *wire.Shared
		want   []string
	}{
		{"in one process", func(*musterv1.JobSpec) {}, func(ref *reference) *wire.Shared { return sharedVectors(ref, 1, 0) }, sums},
		{"in shared memory", func(*musterv1.JobSpec) {}, func(ref *reference) *wire.Shared {
			s := sharedVectors(ref, 1, 0)
			s.Sums = [][]float32{params.NewVector(ref.net.Layout.Size())}
			return s
		}, sums},
		{"f32", func(j *musterv1.JobSpec) { j.Encoding = "f32" }, func(*reference) *wire.Shared { return nil }, sums},
		{"a large batch", func(j *musterv1.JobSpec) { j.Batch = 36 }, func(*reference) *wire.Shared { return nil }, sums},
		{"over the stream", func(*musterv1.JobSpec) {}, func(*reference) *wire.Shared { return nil }, []string{"2 0", "2 2", "factors of 2"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDirector(t)
			d.job = factorsJob()
			ref := newReference(t, d.job)
			tc.change(d.job)
			parameters := loaded(ref.net, 0)
			if d.shared = tc.shared(ref); d.shared != nil {
				parameters = told(ref.net.Layout, 0)
			}
			run(t, testConfig(t), d)
			l := d.admit()
			l.tell(assigned(2))
			l.tell(parameters...)
			l.tell(asked(gradientKind, 0))
			var names []string
			for m := l.hear(); m.GetTallies() == nil; m = l.hear() {
				if f := m.GetFactors(); f != nil {
					names = append(names, fmt.Sprintf("factors of %d", f.Shard))
				} else {
					names = append(names, fmt.Sprintf("%d %d", m.GetGradient().Node.First, m.GetGradient().Chunk))
				}
			}
			slices.Sort(names)
			if !slices.Equal(names, tc.want) {
				t.Errorf("sent %q, want %q", names, tc.want)
			}
			l.tell(done(true, ""))
		})
	}
}

// plainDevice makes plans that hand nothing out.
type plainDevice struct{ device.Device }

func (d plainDevice) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	p, err := d.Device.Compile(g, o)
	return plainPlan{p}, err
}

type plainPlan struct{ device.Plan }

func (p plainPlan) Gradient(b *device.Batch, ready func(int, params.Range)) ([]device.Tally, error) {
	c := *b
	c.Factors = nil
	return p.Plan.Gradient(&c, ready)
}

func TestSumsGoWhereTheDeviceHandsOutNoFactors(t *testing.T) {
	d := newDirector(t)
	d.job = factorsJob()
	ref := newReference(t, d.job)
	cfg := testConfig(t)
	cfg.Device = plainDevice{cfg.Device}
	run(t, cfg, d)
	l := d.admit()
	l.tell(assigned(0, 1))
	l.tell(loaded(ref.net, 1)...)
	l.tell(asked(gradientKind, 1))
	c := hearFactored(t, l, ref, 1)
	c.expect(t, "a step", "0-1 0", "0-1 1", "0-1 2")
	l.tell(done(true, ""))
}

// Factors are sent in turn with chunks, for which they stand in every node that has their
// shard and in no other.
func TestChunksThatFactorsStandForAreNotSent(t *testing.T) {
	layout := threeChunks(t)
	for _, broken := range []error{nil, errors.New("connection reset")} {
		var sent []string
		o := newOutgoing(layout)
		bytes := 0
		o.sent = func(n int) { bytes += n }
		o.begin(7, twoNodes, 2, func(r *wire.Request) error {
			if f := &r.Factors; f.Values != nil {
				sent = append(sent, fmt.Sprintf("factors of %d, tensor %d, at step %d", f.Shard, f.Tensor, f.Step))
			} else {
				sent = append(sent, fmt.Sprintf("%d %d", r.Gradient.First, r.Gradient.Chunk))
			}
			r.Free()
			return broken
		})
		o.ready(0, params.Range{First: 2 * params.ChunkValues, End: layout.Size()})
		o.factored(params.Range{First: 0, End: 2}, wire.Factors{Shard: 1, Tensor: 3, Values: wire.NewOperands(10)})
		o.factored(params.Range{First: 0, End: 2}, wire.Factors{Shard: 0, Tensor: 3, Values: wire.NewOperands(10)})
		if err := o.finish(true); !errors.Is(err, broken) {
			t.Fatal(err)
		}
		want := []string{"0 2", "factors of 1, tensor 3, at step 7", "factors of 0, tensor 3, at step 7", "5 0", "5 1", "5 2"}
		wantBytes := 4*(2*layout.Live(2)+2*params.ChunkValues) + 2*40
		if broken != nil {
			want, wantBytes = want[:1], 0
		}
		if !slices.Equal(sent, want) || bytes != wantBytes {
			t.Errorf("sent %q, %d bytes, want %q, %d bytes", sent, bytes, want, wantBytes)
		}
	}
}
