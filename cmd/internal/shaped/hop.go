package shaped

import (
	"sync"
	"time"
)

// hop is one direction of one machine's link. It is safe for concurrent use.
type hop struct {
	mu   sync.Mutex // guards free
	free time.Time  // when all that has been given to it will have passed
}

// pass gives n bytes to the hop, of which it takes rate in a second, and returns
// when the last of them will have passed. The bytes come from another hop, which
// began with them at from and is done at until; they go through as they come, as
// packets do, and need not be there as a whole first.
func (h *hop) pass(from, until time.Time, n int, rate float64) (began, ends time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	began = later(from, h.free)
	ends = later(until, began.Add(duration(n, rate)))
	h.free = ends
	return began, ends
}

// duration is how long n bytes take; none where rate is 0, which is no limit.
func duration(n int, rate float64) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(float64(n) / rate * float64(time.Second))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
