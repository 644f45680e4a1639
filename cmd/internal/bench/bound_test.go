package bench

import (
	"testing"
	"time"
)

func TestBound(t *testing.T) {
	const ms = time.Millisecond
	even := func(n int, chunks ...time.Duration) []due { // 1000 bytes up and down a chunk and worker
		var all []due
		for _, after := range chunks {
			all = append(all, due{after, float64(1000 * n), float64(1000 * n)})
		}
		return all
	}
	for _, tc := range []struct {
		what   string
		chunks []due
		rate   float64
		delay  time.Duration
		want   time.Duration
	}{
		{"no link: computing alone", even(1, 40*ms, 100*ms), 0, 0, 100 * ms},
		{"delay alone, there and back", even(1, 40*ms, 100*ms), 0, 3 * ms, 106 * ms},
		{"the last chunk goes up and comes back", even(1, 40*ms, 100*ms), 1e6, 0, 102 * ms},
		{"and behind it those of the other workers", even(8, 40*ms, 100*ms), 1e6, 0, 116 * ms},
		{"all bytes from the first chunk on", even(1, 40*ms, 41*ms, 42*ms, 43*ms), 1e5, 0, 90 * ms},
		{"more bytes down than up", []due{{0, 10, 1000}, {0, 10, 3000}}, 1e6, 0, 4010 * time.Microsecond},
		{"more bytes up than down", []due{{0, 1000, 20}, {0, 3000, 10}}, 1e6, 0, 4010 * time.Microsecond},
		{"nothing to do", nil, 1e6, 0, 0},
	} {
		got := bound(tc.chunks, tc.rate, tc.delay)
		if diff := got - tc.want; diff < -time.Nanosecond || diff > time.Nanosecond {
			t.Errorf("%s: %v, want %v", tc.what, got, tc.want)
		}
	}
}
