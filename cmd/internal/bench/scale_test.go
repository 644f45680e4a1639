package bench

import (
	"testing"
	"time"

	"github.com/muster-train/muster/model"
)

func TestDilationLeavesTheLinksSlowerThanTheMachine(t *testing.T) {
	const s, ms = time.Second, time.Millisecond
	for _, tc := range []struct {
		what  string
		free  ran
		rate  float64 // bytes a second
		least time.Duration
		want  float64
	}{
		{"a machine that keeps up", ran{median: 400 * ms, up: 900, down: 1000}, 1000, s, 1},
		{"one as fast as the links", ran{median: s, up: 1000, down: 900}, 1000, s, 2},
		{"one that is slower", ran{median: 3 * s, up: 1000, down: 1000}, 1000, s, 6},
		{"rounded up", ran{median: 3010 * ms, up: 1000, down: 1000}, 1000, s, 6.1},
		{"steps too short for timers", ran{median: ms, up: 10, down: 10}, 1000, 10 * ms, 20},
	} {
		if got := dilation(tc.free, tc.rate, tc.least); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
		}
	}
}

func TestWhatWasCountedIsSpreadOverTheChunks(t *testing.T) {
	network, err := model.New("alexnet", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	const compute = 80 * time.Millisecond
	all := dues(network, compute, ran{up: 3e6, down: 4e6}, network.Layout.Live)
	var up, down float64
	for i, d := range all {
		up, down = up+d.up, down+d.down
		if i > 0 && d.after < all[i-1].after {
			t.Errorf("chunk %d of a step is there before the one ahead of it", i)
		}
	}
	if diff := max(up-3e6, 3e6-up, down-4e6, 4e6-down); len(all) != network.Layout.Chunks() || diff > 1e-3 {
		t.Errorf("%d chunks of %v bytes up and %v down, want %d of 3e6 and 4e6", len(all), up, down, network.Layout.Chunks())
	}
	// One worker whose link takes no time is as fast as if it had none.
	s := Scale{Compute: Compute{Time: compute}, Bound: bound(all, 1e15, 0)}
	if e := s.BoundEfficiency(); e < 0.9999 || e > 1.0001 {
		t.Errorf("without a link to speak of efficiency is bounded by %v, want 1", e)
	}
}
