package paramserver

import (
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/optim"
)

// Nobody sees a state that is half another one, nor that of one step as that of another.
func TestNothingIsReadWhileAnotherStateIsBroughtIn(t *testing.T) {
	layout := newServer(t, twoChunks(t)).network.Layout
	s := NewStore(layout, optim.Rule{}, 4, 0, params.NewVector(layout.Size()), params.NewVector(layout.Size()))
	other := params.NewVector(layout.Size())
	other[0] = 7
	s.Settle()
	s.LoadAll(2, other, other)
	for step := params.Step(1); step < 6; step++ {
		if s.Has(step, 0) || s.Read(step, 0) != nil || s.View(step, 0) != nil {
			t.Errorf("step %d can be read", step)
		}
	}
	s.Take(2, 8)
	if v := s.View(2, 0); v == nil || v[0] != 7 {
		t.Error("the state that was brought in can't be read")
	}
	if at, samples := s.At(); at != 2 || samples != 8 || s.Has(4, 0) {
		t.Errorf("step %d, %d samples; want 2 and 8, and nothing of step 4", at, samples)
	}
}

// TestValuesWithoutAGradientAreUpdatedWithZero sends live values alone, or views
// of vectors, as workers do, and expects of every chunk what the rule makes of the
// whole gradient: weight decay and momentum move the other values as well.
func TestValuesWithoutAGradientAreUpdatedWithZero(t *testing.T) {
	for name, views := range map[string][2]bool{"none": {}, "the first": {true, false}, "the second": {false, true}, "both": {true, true}} {
		t.Run("views "+name, func(t *testing.T) { updateWithViews(t, views, kernel.Add) })
		t.Run("views "+name+", rounded", func(t *testing.T) { updateWithViews(t, views, kernel.AddRound) })
	}
}

func updateWithViews(t *testing.T, views [2]bool, add func(dst, x, y []float32)) {
	layout, err := params.NewLayout([]params.Tensor{
		{Name: "fc", Shape: []int{100, 1000}},
		{Name: "conv", Shape: []int{100_000, 3}, Zero: []bool{true, false, true}},
		{Name: "bias", Shape: []int{7}},
	})
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
	parameters := vector(func(i int) float32 { return float32(i%17) - 8 })
	momentum := vector(func(i int) float32 { return float32(i%5) / 4 })
	gradients := [2][]float32{}
	for k := range gradients {
		gradients[k] = vector(func(i int) float32 { return float32((i+k)%11)*0.3 - 1.5 })
		for i := range layout.Tensors()[1].Range.Len() {
			if i%3 != 1 {
				gradients[k][layout.Tensors()[1].Range.First+i] = 0
			}
		}
	}
	rule := optim.Rule{Momentum: 0.9, WeightDecay: 0.01}
	const scale, rate = 0.25, 0.5
	want, wantMomentum := params.NewVector(layout.Size()), params.NewVector(layout.Size())
	sum := params.NewVector(layout.Size())
	add(sum, gradients[0], gradients[1])
	rule.Apply(want, wantMomentum, parameters, momentum, sum, scale, rate, false)

	lent := [2][]float32{slices.Clone(gradients[0]), slices.Clone(gradients[1])}
	store := NewStore(layout, rule, 0, 0, slices.Clone(parameters), slices.Clone(momentum))
	whole := make(chan struct{}, layout.Chunks())
	l := newLanes(store, layout.Chunks(), whole)
	l.sum = add
	done := make(chan struct{})
	go func() { l.run(); close(done) }()
	for chunk := range layout.Chunks() {
		for k, g := range gradients {
			b := wire.View(layout.Chunk(chunk).Of(g))
			if !views[k] {
				b = wire.NewPayload(layout.Live(chunk))
				layout.Pack(b.Floats(), g, chunk)
			}
			o := Outcome{Verdict: Counted}
			if k == 1 {
				o.Add, o.Complete = []int{0}, true
			}
			l.submit(task{chunk: chunk, outcome: o, values: b, scale: scale, rate: rate})
		}
	}
	l.close()
	<-done
	if len(whole) != layout.Chunks() {
		t.Fatalf("%d chunks became whole, want %d", len(whole), layout.Chunks())
	}
	store.Commit(8)
	v := store.Hold()
	defer v.Release()
	if !slices.Equal(v.Parameters, want) || !slices.Equal(v.Momentum, wantMomentum) {
		t.Error("parameters or momentum are not those of the whole gradient")
	}
	for k, g := range gradients {
		if !slices.Equal(g, lent[k]) {
			t.Errorf("vector %d, of which contributions were views, was written to", k)
		}
	}
}
