package paramserver

import (
	"sync"
	"testing"

	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/optim"
)

// liveStore is a store of a relaxed job whose parameters are all 1.
func liveStore(t *testing.T, rule optim.Rule) *Store {
	t.Helper()
	net, err := network(testJob())
	if err != nil {
		t.Fatal(err)
	}
	w := params.NewVector(net.Layout.Size())
	for i := range w {
		w[i] = 1
	}
	s := NewStore(net.Layout, rule, 3, 6, w, params.NewVector(net.Layout.Size()))
	s.relax()
	return s
}

// A reader sees each chunk before or after an update, whenever it reads.
func TestLiveChunksAreReadWhole(t *testing.T) {
	s := liveStore(t, optim.Rule{})
	g := make([]float32, s.layout.Chunk(0).Len())
	for i := range g {
		g[i] = -1
	}
	var all sync.WaitGroup
	all.Go(func() {
		for range 300 {
			s.Update(0, g, 1, 1, 1)
		}
	})
	for range 2 {
		all.Go(func() {
			for last := uint64(0); last < 300; {
				p, updates := s.ReadLive(0)
				for i, x := range p.Floats() {
					if x != float32(1+updates) {
						t.Errorf("value %d is %v after %d updates", i, x, updates)
						break
					}
				}
				p.Free()
				if updates < last {
					t.Errorf("%d updates after %d", updates, last)
				}
				last = updates
			}
		})
	}
	all.Wait()
}

// Weights decay by as much as in one step, however many contributions it comes in.
func TestSharesOfDecayAddUp(t *testing.T) {
	s := liveStore(t, optim.Rule{WeightDecay: 0.5})
	g := make([]float32, s.layout.Chunk(0).Len())
	for _, share := range []float32{0.25, 0.75} {
		s.Update(0, g, 1, 0.001, share)
	}
	if got, want := s.Hold().Parameters[0], float32((1-0.001*0.5*0.25)*(1-0.001*0.5*0.75)); got != want {
		t.Errorf("a weight of 1 has become %v, want %v", got, want)
	}
}

func TestAHeldLiveStateStaysAsItWas(t *testing.T) {
	s := liveStore(t, optim.Rule{})
	v := s.Hold()
	g := make([]float32, s.layout.Chunk(0).Len())
	g[0] = 1
	for range 2 {
		s.Update(0, g, 1, 1, 1)
	}
	s.Advance(2)
	if v.Parameters[0] != 1 || v.Step != 3 || v.Samples != 6 {
		t.Errorf("a held state of step %d has %v", v.Step, v.Parameters[0])
	}
	if step, samples := s.At(); step != 4 || samples != 8 {
		t.Errorf("step %d, %d samples; want 4, 8", step, samples)
	}
}
