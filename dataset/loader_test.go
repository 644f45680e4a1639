package dataset

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// expected makes a batch in the plainest way.
func expected(set *Set, cut Cut, tr Transform, seed uint64, at Position, shards []int) *Batch {
	b := new(Batch)
	per := cut.Batch / cut.Shards
	for _, s := range shards {
		order := Permutation(seed, at.Epoch, Shard{s, cut.Shards}, cut.Images)
		n := cut.Count(s, at.Batch)
		b.Counts = append(b.Counts, n)
		for k := range n {
			i := order[at.Batch*per+k]
			values := make([]float32, tr.Len())
			tr.Train(values, set.Train.Image(int(i)), seed, at.Epoch, i)
			b.Images = append(b.Images, values...)
			b.Labels = append(b.Labels, int32(set.Train.Labels[i]))
			b.Index = append(b.Index, i)
		}
	}
	return b
}

func sameBatch(t *testing.T, what any, got, want *Batch) {
	t.Helper()
	if !slices.Equal(got.Index, want.Index) || !slices.Equal(got.Labels, want.Labels) || !slices.Equal(got.Counts, want.Counts) {
		t.Fatalf("%v: images %v labels %v counts %v, want %v %v %v", what, got.Index, got.Labels, got.Counts, want.Index, want.Labels, want.Counts)
	}
	if !slices.Equal(got.Images, want.Images) {
		t.Fatalf("%v: pixels differ, first at value %d", what, firstDifference(got.Images, want.Images))
	}
}

var someTransform = Transform{Mean: [3]float32{0.5, 0.5, 0.5}, Augment: PadCrop | Flip}

// walk is a list of requests that goes forward, stays, jumps and changes shards.
var walk = []struct {
	at     Position
	shards []int
}{
	{Position{0, 0}, []int{0, 1, 2, 3}},
	{Position{0, 1}, []int{0, 1, 2, 3}},
	{Position{0, 2}, []int{0, 1, 2, 3}},
	{Position{0, 2}, []int{0, 1, 2, 3}},
	{Position{0, 3}, []int{2, 3}},
	{Position{0, 3}, []int{3, 2}},
	{Position{0, 1}, []int{2}},
	{Position{3, 0}, []int{1}},
	{Position{2, 4}, []int{0, 3}},
	{Position{3, 0}, []int{0, 3}},
	{Position{3, 1}, nil},
	{Position{3, 2}, []int{1, 1}},
}

func TestLoaderGivesTheSameBatchesWithAndWithoutRun(t *testing.T) {
	set := someSet(37, 11)
	cut := Cut{Images: 37, Shards: 4, Batch: 8}
	for _, run := range []bool{false, true} {
		l := NewLoader(set, cut, someTransform, 3)
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		if run {
			done.Go(func() { _ = l.Run(ctx) })
		}
		for _, w := range walk {
			got, err := l.Train(ctx, w.at, w.shards)
			if err != nil {
				t.Fatal(err)
			}
			sameBatch(t, w, got, expected(set, cut, someTransform, 3, w.at, w.shards))
		}
		cancel()
		done.Wait()
	}
}

func TestLoaderSharesBigBatchesAmongHelpers(t *testing.T) {
	set := someSet(300, 1)
	cut := Cut{Images: 300, Shards: 2, Batch: 150}
	synctest.Test(t, func(t *testing.T) {
		l := NewLoader(set, cut, someTransform, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = l.Run(ctx) }()
		for step := range 7 {
			at := Position{step / 2, step % 2}
			got, err := l.Train(ctx, at, []int{0, 1})
			if err != nil {
				t.Fatal(err)
			}
			sameBatch(t, at, got, expected(set, cut, someTransform, 1, at, []int{0, 1}))
			synctest.Wait() // the helpers made the next one
		}
		cancel()
		synctest.Wait()
	})
}

func TestLoaderMakesTheFollowingBatchAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := someSet(10, 1)
		cut := Cut{Images: 10, Shards: 2, Batch: 4}
		l := NewLoader(set, cut, someTransform, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := false
		go func() {
			if err := l.Run(ctx); err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
			ended = true
		}()
		for _, step := range []struct{ at, ahead Position }{
			{Position{0, 0}, Position{0, 1}},
			{Position{0, 1}, Position{0, 2}},
			{Position{0, 2}, Position{1, 0}}, // the epoch's end
			{Position{1, 0}, Position{1, 1}},
		} {
			if _, err := l.Train(ctx, step.at, []int{1}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // until Run has nothing more to do
			if !l.spare.valid || !l.spare.of.equal(step.ahead, []int{1}) {
				t.Errorf("after %v: ahead is %+v (valid %v), want %v", step.at, l.spare.of, l.spare.valid, step.ahead)
			}
			sameBatch(t, step.ahead, &l.spare.Batch, expected(set, cut, someTransform, 1, step.ahead, []int{1}))
		}
		cancel()
		synctest.Wait()
		if !ended {
			t.Error("Run goes on after its context has ended")
		}
	})
}

func TestLoaderLeavesTheLentBatchAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := someSet(64, 1)
		cut := Cut{Images: 64, Shards: 1, Batch: 8}
		l := NewLoader(set, cut, someTransform, 1)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _ = l.Run(ctx) }()
		for step := range 8 {
			at := Position{0, step}
			got, err := l.Train(ctx, at, []int{0})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait() // the batch ahead is made while got is ours
			sameBatch(t, at, got, expected(set, cut, someTransform, 1, at, []int{0}))
		}
		cancel()
	})
}

func TestLoaderRefusesWhatIsNotThere(t *testing.T) {
	l := NewLoader(someSet(10, 1), Cut{Images: 10, Shards: 2, Batch: 4}, Transform{}, 1)
	for _, tc := range []struct {
		at     Position
		shards []int
		want   string
	}{
		{Position{0, 3}, []int{0}, "batch 3 of epoch 0: batch must be 0 to 2, epoch at least 0"},
		{Position{0, -1}, []int{0}, "batch -1 of epoch 0: batch must be 0 to 2, epoch at least 0"},
		{Position{-1, 0}, []int{0}, "batch 0 of epoch -1: batch must be 0 to 2, epoch at least 0"},
		{Position{0, 0}, []int{2}, "shard 2: must be 0 to 1"},
		{Position{0, 0}, []int{0, -1}, "shard -1: must be 0 to 1"},
	} {
		if _, err := l.Train(t.Context(), tc.at, tc.shards); err == nil || err.Error() != tc.want {
			t.Errorf("Train(%v, %v) = %v, want %q", tc.at, tc.shards, err, tc.want)
		}
	}
}

func TestTrainHeedsItsContext(t *testing.T) {
	l := NewLoader(someSet(10, 1), Cut{Images: 10, Shards: 2, Batch: 4}, Transform{}, 1)
	ctx, cancel := context.WithCancel(t.Context())
	l.turn <- struct{}{} // as while a batch is being made
	failed := make(chan error)
	go func() {
		_, err := l.Train(ctx, Position{}, []int{0})
		failed <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("Train = %v, want %v", err, context.Canceled)
	}
	<-l.turn
	if _, err := l.Train(ctx, Position{}, []int{0}); !errors.Is(err, context.Canceled) {
		t.Errorf("Train with a cancelled context = %v, want %v", err, context.Canceled)
	}
	if _, err := l.Train(t.Context(), Position{}, []int{0}); err != nil {
		t.Errorf("Train after a cancelled one: %v", err)
	}
}

func TestLoaderAllocatesNothingInSteadyState(t *testing.T) {
	set := someSet(101, 20)
	cut := Cut{Images: 101, Shards: 4, Batch: 8}
	l := NewLoader(set, cut, someTransform, 1)
	shards := []int{0, 2, 3}
	at := Position{}
	step := func() {
		if _, err := l.Train(t.Context(), at, shards); err != nil {
			t.Fatal(err)
		}
		at = l.following(at)
	}
	for range 2 * cut.Steps() {
		step()
	}
	if n := testing.AllocsPerRun(3*cut.Steps(), step); n != 0 {
		t.Errorf("Train allocates %v times a step, want 0", n)
	}
	var b Batch
	l.Test(&b, 1, 2, 0, 8)
	if n := testing.AllocsPerRun(10, func() { l.Test(&b, 0, 2, 2, 8) }); n != 0 {
		t.Errorf("Test allocates %v times, want 0", n)
	}
}

func TestTestSlicesCoverTheTestSetOnce(t *testing.T) {
	set := someSet(8, 23)
	l := NewLoader(set, Cut{Images: 8, Shards: 1, Batch: 8}, someTransform, 1)
	for _, shards := range []int{1, 2, 5, 23, 30} {
		seen := make([]int, 23)
		for shard := range shards {
			var b Batch
			for from := 0; ; {
				n := l.Test(&b, shard, shards, from, 4)
				if n != len(b.Index) || n != len(b.Labels) || n*someTransform.Len() != len(b.Images) || !slices.Equal(b.Counts, []int{n}) {
					t.Fatalf("Test = %d with %d numbers, %d labels, %d values, counts %v", n, len(b.Index), len(b.Labels), len(b.Images), b.Counts)
				}
				if n == 0 {
					break
				}
				for k, i := range b.Index {
					if int(i)%shards != shard || int(i) != shard+(from+k)*shards {
						t.Fatalf("slice %d/%d from %d: image %d at %d", shard, shards, from, i, k)
					}
					want := make([]float32, someTransform.Len())
					someTransform.Test(want, set.Test.Image(int(i)))
					if got := b.Images[k*len(want) : (k+1)*len(want)]; !slices.Equal(got, want) || b.Labels[k] != int32(set.Test.Labels[i]) {
						t.Fatalf("slice %d/%d: image %d is not prepared as a test image", shard, shards, i)
					}
					seen[i]++
				}
				from += n
			}
		}
		for i, n := range seen {
			if n != 1 {
				t.Errorf("%d slices: image %d is there %d times", shards, i, n)
			}
		}
	}
}

func TestNewLoaderPanicsOnAFaultOfTheProgram(t *testing.T) {
	for _, tc := range []struct {
		name string
		cut  Cut
		tr   Transform
	}{
		{"an invalid cut", Cut{Images: 10, Shards: 3, Batch: 4}, Transform{}},
		{"an invalid transform", Cut{Images: 10, Shards: 2, Batch: 4}, Transform{Side: 5}},
		{"a cut of another set", Cut{Images: 11, Shards: 2, Batch: 4}, Transform{}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("NewLoader with %s did not panic", tc.name)
				}
			}()
			NewLoader(someSet(10, 1), tc.cut, tc.tr, 1)
		}()
	}
}

func TestAnEpochOfBatchesHoldsEachImageOnce(t *testing.T) {
	set := someSet(53, 1)
	cut := Cut{Images: 53, Shards: 5, Batch: 10}
	l := NewLoader(set, cut, Transform{}, 9)
	seen := make([]int, 53)
	for step := range cut.Steps() {
		b, err := l.Train(t.Context(), Position{4, step}, []int{4, 0, 1, 3, 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range b.Index {
			seen[i]++
		}
	}
	for i, n := range seen {
		if n != 1 {
			t.Errorf("image %d is there %d times", i, n)
		}
	}
}

func BenchmarkLoaderStep(b *testing.B) {
	set := someSet(5000, 1)
	l := NewLoader(set, Cut{Images: 5000, Shards: 8, Batch: 128}, someTransform, 1)
	shards := []int{0, 1, 2, 3, 4, 5, 6, 7}
	at := Position{}
	for b.Loop() {
		if _, err := l.Train(b.Context(), at, shards); err != nil {
			b.Fatal(err)
		}
		at = l.following(at)
	}
}
