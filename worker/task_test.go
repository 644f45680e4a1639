package worker

import (
	"errors"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func refusal(reason musterv1.RefusalReason, step uint64, first, end int) *musterv1.ExchangeResponse {
	return &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Refusal{Refusal: &musterv1.Refusal{
		Reason: reason, Step: step, Node: &musterv1.Node{First: uint32(first), End: uint32(end)},
	}}}
}

// uints are shards as the protocol has them.
func uints(shards []int) []uint32 {
	var all []uint32
	for _, s := range shards {
		all = append(all, uint32(s))
	}
	return all
}

// TestContributionIsTheTreeOfTheLeaves gives one worker ever other shards and
// compares the sums it sends with those of workers of one shard each.
func TestContributionIsTheTreeOfTheLeaves(t *testing.T) {
	d := newDirector(t)
	ref := newReference(t, d.job)
	r := run(t, testConfig(t), d)
	l := d.admit()
	for _, tc := range []struct {
		step   uint64 // 2 and 5 are short: one image each of shards 0 and 1
		shards []int
		nodes  int
	}{
		{0, []int{0}, 1},
		{1, []int{2, 3}, 1},
		{2, []int{0, 1, 2, 3}, 1},
		{3, []int{0, 1, 2, 3}, 1},
		{4, []int{0, 2, 3}, 2},
		{5, []int{1, 2, 3}, 1},
		{6, []int{1, 2}, 2},
		{7, []int{0, 1, 3}, 2},
		{8, []int{0, 2}, 1},
	} {
		l.tell(assigned(uints(tc.shards)...))
		l.tell(loaded(ref.net, tc.step)...)
		l.tell(asked(gradientKind, tc.step))
		ref.check(l.contribute(ref.net, tc.step, tc.nodes), tc.step, tc.shards)
	}
	l.tell(done(true, ""))
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
}

func TestShardsWithoutImagesSendNothing(t *testing.T) {
	d := newDirector(t)
	net := networkOf(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(2, 3))
	l.tell(loaded(net, 2)...)
	l.tell(asked(gradientKind, 2))
	l.tell(loaded(net, 3)...) // tell fails the test where the worker speaks first
	l.tell(asked(gradientKind, 3))
	if c := l.contribute(net, 3, 1); !slices.Equal(c.shards(), []int{2, 3}) {
		t.Errorf("tallies of %v were sent, want 2 and 3", c.shards())
	}
}

// A server that gave its shards to others, since it was silent, hears that it goes on:
// it may have lost the work at which it was silent, and have nothing else to send.
func TestAWorkerThatIsGivenNoShardsSaysThatItIsThere(t *testing.T) {
	d := newDirector(t)
	ref := newReference(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0))
	l.tell(asked(gradientKind, 5)) // whose parameters don't come
	l.tell(assigned())
	if got := l.hear().GetTallies(); got == nil || len(got.Tallies) != 0 {
		t.Errorf("the worker sent %v, want tallies of no shard", got)
	}
	l.tell(assigned(0))
	l.tell(asked(gradientKind, 6))
	l.tell(loaded(ref.net, 6)...)
	ref.check(l.contribute(ref.net, 6, 1), 6, []int{0})
}

func TestWorkWaitsForItsParameters(t *testing.T) {
	for name, before := range map[string]func(ref *reference) []*musterv1.ExchangeResponse{
		"none are there":                func(*reference) []*musterv1.ExchangeResponse { return nil },
		"those of the step before are":  func(ref *reference) []*musterv1.ExchangeResponse { return loaded(ref.net, 4) },
		"those of the step after are":   func(ref *reference) []*musterv1.ExchangeResponse { return loaded(ref.net, 6) },
		"the work has been given twice": func(*reference) []*musterv1.ExchangeResponse { return asks(5, 5) },
		"other work was given before":   func(*reference) []*musterv1.ExchangeResponse { return asks(4) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirector(t)
			ref := newReference(t, d.job)
			run(t, testConfig(t), d)
			l := d.admit()
			l.tell(assigned(0))
			l.tell(before(ref)...)
			l.tell(asked(gradientKind, 5))
			l.tell(loaded(ref.net, 5)...)
			ref.check(l.contribute(ref.net, 5, 1), 5, []int{0})
			l.tell(asked(evaluateKind, 6))
			l.tell(loaded(ref.net, 6)...)
			if e := l.hear().GetTallies(); e == nil || e.Kind != evaluateKind || e.Step != 6 {
				t.Errorf("the worker sent %v, want an evaluation", e)
			}
		})
	}
}

func asks(steps ...uint64) []*musterv1.ExchangeResponse {
	var all []*musterv1.ExchangeResponse
	for _, step := range steps {
		all = append(all, asked(gradientKind, step))
	}
	return all
}

// TestWhileItAwaitsParametersAWorkerHearsEverything ends a step that can't be
// computed by each message that may come in its place.
func TestWhileItAwaitsParametersAWorkerHearsEverything(t *testing.T) {
	d := newDirector(t)
	ref := newReference(t, d.job)
	r := run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0))
	l.tell(asked(gradientKind, 1)) // never to be computed
	l.tell(assigned(1))
	l.tell(asked(gradientKind, 2))
	l.tell(loaded(ref.net, 2)...)
	ref.check(l.contribute(ref.net, 2, 1), 2, []int{1})
	l.tell(asked(gradientKind, 3))
	l.cut(errors.New("connection reset"))
	l = d.admit()
	l.tell(assigned(1))
	l.tell(asked(gradientKind, 4))
	l.tell(done(true, ""))
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestDamagedParametersBreakTheStream(t *testing.T) {
	d := newDirector(t)
	net := networkOf(t, d.job)
	ref := newReference(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0))
	l.tell(loaded(net, 0)...)
	damaged := loaded(net, 1)
	damaged[0].GetParameters().Checksum++
	l.tell(damaged...)

	l = d.admit()
	if l.hello.HaveStepPlusOne != 1 {
		t.Errorf("hello says it holds step %d, want 0, of which nothing was replaced", int(l.hello.HaveStepPlusOne)-1)
	}
	l.tell(assigned(0))
	l.tell(loaded(net, 1)...)
	l.tell(asked(gradientKind, 1))
	ref.check(l.contribute(net, 1, 1), 1, []int{0})
}

// TestMixtureOfStepsIsNeverWhole uses a network of two chunks.
func TestMixtureOfStepsIsNeverWhole(t *testing.T) {
	job := testJob()
	job.Classes = 4000
	ref := newReference(t, job)
	if n := ref.net.Layout.Chunks(); n != 2 {
		t.Fatalf("the network has %d chunks, the test wants 2", n)
	}
	one, two := loaded(ref.net, 1), loaded(ref.net, 2)
	for _, tc := range []struct {
		name    string
		tell    []*musterv1.ExchangeResponse
		missing []*musterv1.ExchangeResponse
	}{
		{"in order", []*musterv1.ExchangeResponse{two[0], two[1]}, nil},
		{"out of order", []*musterv1.ExchangeResponse{two[1], two[0]}, nil},
		{"half", []*musterv1.ExchangeResponse{two[0]}, two[1:]},
		{"one half twice", []*musterv1.ExchangeResponse{two[1], two[1]}, two[:1]},
		{"halves of two steps", []*musterv1.ExchangeResponse{one[0], two[1]}, two[:1]},
		{"halves of two steps, then the other", []*musterv1.ExchangeResponse{one[0], two[1], two[0]}, nil},
		{"a half of another step between", []*musterv1.ExchangeResponse{two[0], one[0], two[1]}, two[:1]},
		{"a half after the whole", []*musterv1.ExchangeResponse{two[0], two[1], one[0]}, two[:1]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDirector(t)
			d.job = job
			run(t, testConfig(t), d)
			l := d.admit()
			l.tell(assigned(1))
			l.tell(tc.tell...)
			l.tell(asked(gradientKind, 2))
			l.tell(tc.missing...) // tell fails the test where the worker speaks first
			ref.check(l.contribute(ref.net, 2, 1), 2, []int{1})
		})
	}
}

// TestGrownAssignmentAddsTheMissingShardsAlone also asks for more nodes than
// the whole assignment takes: what is left of 0-3 without 1 is 0 and 2-3.
func TestGrownAssignmentAddsTheMissingShardsAlone(t *testing.T) {
	d := newDirector(t)
	ref := newReference(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(1))
	l.tell(loaded(ref.net, 0)...)
	l.tell(asked(gradientKind, 0))
	ref.check(l.contribute(ref.net, 0, 1), 0, []int{1})

	l.tell(assigned(0, 1, 2, 3), asked(gradientKind, 0))
	ref.check(l.contribute(ref.net, 0, 2), 0, []int{0, 2, 3})

	// What was sent once is not sent again when the work is repeated.
	l.tell(asked(gradientKind, 0), assigned(1, 2), asked(gradientKind, 0))
	l.tell(loaded(ref.net, 1)...)
	l.tell(asked(gradientKind, 1))
	ref.check(l.contribute(ref.net, 1, 2), 1, []int{1, 2})
}

func TestNewShardsWaitForTheWorkThatFollows(t *testing.T) {
	d := newDirector(t)
	ref := newReference(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0))
	l.tell(loaded(ref.net, 0)...)
	l.tell(asked(gradientKind, 0))
	l.contribute(ref.net, 0, 1)
	// Step 0 has been applied meanwhile, without the worker's new shard.
	l.tell(assigned(0, 1))
	l.tell(loaded(ref.net, 1)...)
	l.tell(asked(gradientKind, 1))
	ref.check(l.contribute(ref.net, 1, 1), 1, []int{0, 1})
}

func TestRefusedContributionIsComputedAgain(t *testing.T) {
	for _, tc := range []struct {
		reason musterv1.RefusalReason
		step   uint64
		again  bool
	}{
		{musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE, 1, true},
		{musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, 1, true},
		{musterv1.RefusalReason_REFUSAL_REASON_NOT_FINITE, 0, false},
		{musterv1.RefusalReason_REFUSAL_REASON_STALE, 1, false},
	} {
		t.Run(tc.reason.String(), func(t *testing.T) {
			d := newDirector(t)
			ref := newReference(t, d.job)
			run(t, testConfig(t), d)
			l := d.admit()
			l.tell(assigned(0, 1, 2))
			l.tell(loaded(ref.net, 1)...)
			l.tell(asked(gradientKind, 1))
			first := l.contribute(ref.net, 1, 2)
			ref.check(first, 1, []int{0, 1, 2})

			l.tell(refusal(tc.reason, tc.step, 0, 2))
			if tc.again {
				second := l.contribute(ref.net, 1, 1)
				ref.check(second, 1, []int{0, 1})
				if !sameBits(first.sums[0], second.sums[0]) {
					t.Error("computed again, it has other bits")
				}
			}
			l.tell(refusal(tc.reason, tc.step, 3, 1<<20), done(true, "")) // of shards that it does not own
		})
	}
}

// What int8 cuts off is not kept over a restart of the server, so that a step's
// parameters may be others then.
func TestOverANewStreamNoParametersOfAnInt8JobAreHeld(t *testing.T) {
	d := newDirector(t)
	d.job = encodedJob("int8")
	ref := newReference(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0, 1))
	l.tell(loadedIn(inBF16, ref.net, 3)...)
	l.tell(asked(gradientKind, 3))
	l.contribute(ref.net, 3, 1)
	l.cut(io.EOF)
	if have := d.admit().hello.HaveStepPlusOne; have != 0 {
		t.Errorf("hello says it holds step %d, want none", have-1)
	}
}

func TestOverANewStreamEverythingIsSentAgain(t *testing.T) {
	d := newDirector(t)
	ref := newReference(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0, 1))
	l.tell(loaded(ref.net, 3)...)
	l.tell(asked(gradientKind, 3))
	ref.check(l.contribute(ref.net, 3, 1), 3, []int{0, 1})
	l.cut(io.EOF)

	l = d.admit()
	if l.hello.HaveStepPlusOne != 4 {
		t.Errorf("hello says %d, want 4: the worker holds step 3", l.hello.HaveStepPlusOne)
	}
	l.tell(assigned(0, 1), asked(gradientKind, 3)) // its parameters need not be sent again
	ref.check(l.contribute(ref.net, 3, 1), 3, []int{0, 1})
}

func TestHalfSentContributionIsSentAgain(t *testing.T) {
	d := newDirector(t)
	ref := newReference(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0, 3))
	l.tell(loaded(ref.net, 0)...)
	l.tell(asked(gradientKind, 0))
	l.hear() // one of two nodes
	l.cut(errors.New("connection reset"))

	l = d.admit()
	l.tell(assigned(0, 3), asked(gradientKind, 0))
	ref.check(l.contribute(ref.net, 0, 2), 0, []int{0, 3})
}

func TestEvaluationSendsTheTallyOfEachSlice(t *testing.T) {
	d := newDirector(t)
	ref := newReference(t, d.job)
	run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(1, 3))
	l.tell(loaded(ref.net, 6)...)
	// The gradients of the step first: the two kinds of work are told apart.
	l.tell(asked(gradientKind, 6))
	l.contribute(ref.net, 6, 2)
	l.tell(asked(evaluateKind, 6))
	for _, shard := range []int{1, 3} {
		want := evaluate(t, EvaluateImages, 6, shard, 4)
		m := l.hear().GetTallies()
		if m.GetKind() != evaluateKind || m.Step != 6 || len(m.Tallies) != 1 {
			t.Fatalf("sent %v, want the tally of slice %d", m, shard)
		}
		if got := m.Tallies[0]; !sameTally(got, want) {
			t.Errorf("sent %v, want %+v", got, want)
		}
	}
	l.tell(done(true, ""))
}

// evaluate is Evaluate with a plan for some number of images.
func evaluate(t *testing.T, images int, step uint64, shard, shards int) device.Tally {
	t.Helper()
	job := testJob()
	net := networkOf(t, job)
	d, err := cpu.New(1)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	plan, err := net.Plan(d, device.Options{Images: images})
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Close()
	copy(plan.Parameters(), vector(net, step))
	plan.Loaded(params.Range{First: 0, End: net.Layout.Size()})
	loader := newLoader(t, net, job, dataset.Cut{Images: testSet().Train.Len(), Shards: 1, Batch: 1})
	var scratch dataset.Batch
	if images >= EvaluateImages {
		images, right := 0, 0
		tally, err := Evaluate(plan, loader, &scratch, shard, shards, func(labels, predicted []int32) {
			images += len(labels)
			for i, label := range labels {
				if predicted[i] == label {
					right++
				}
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		if images != tally.Images || right != tally.Top1 {
			t.Errorf("%d images seen, %d right; the tally has %d and %d", images, right, tally.Images, tally.Top1)
		}
		if unseen, err := Evaluate(plan, loader, &scratch, shard, shards, nil); err != nil || unseen != tally {
			t.Errorf("%+v, %v where nobody looks; want %+v", unseen, err, tally)
		}
		return tally
	}
	// One image after the other, added up here.
	total := device.Tally{Shard: shard}
	for from := 0; loader.Test(&scratch, shard, shards, from, 1) == 1; from++ {
		tallies, err := plan.Evaluate(&device.Batch{
			Images: scratch.Images, Labels: scratch.Labels, Index: scratch.Index,
			Shards: []device.ShardImages{{Shard: shard, Images: 1}},
		})
		if err != nil {
			t.Fatal(err)
		}
		total.Images++
		total.Loss += tallies[0].Loss
		total.Top1 += tallies[0].Top1
		total.Top5 += tallies[0].Top5
	}
	return total
}

func TestEvaluateDoesNotDependOnThePlansSize(t *testing.T) {
	want := evaluate(t, EvaluateImages, 0, 0, 1)
	if got := evaluate(t, EvaluateImages+57, 0, 0, 1); got != want {
		t.Errorf("with a larger plan %+v, want %+v", got, want)
	}
	single := evaluate(t, 1, 0, 0, 1)
	if want.Images != testSet().Test.Len() || want.Top1 != single.Top1 || want.Top5 != single.Top5 || math.Abs(want.Loss-single.Loss) > 1e-9*single.Loss {
		t.Errorf("Evaluate = %+v, image by image %+v", want, single)
	}
	if got := evaluate(t, EvaluateImages, 0, 140, 141); got != (device.Tally{Shard: 140}) {
		t.Errorf("a slice without images has %+v", got)
	}
}
