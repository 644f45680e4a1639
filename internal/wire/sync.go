package wire

import (
	"fmt"
	"strconv"
	"strings"
)

// Sync is when a job applies gradients. The zero Sync waits for all shards of a step.
type Sync struct {
	// Relaxed applies each contribution as soon as it comes.
	Relaxed bool
	// Ahead is how many steps a worker may be ahead of the slowest shard, where Relaxed;
	// 0: any number within an epoch.
	Ahead int
}

// mostAhead is what a job may allow at most: more is async.
const mostAhead = 1000

// ParseSync returns the synchronisation of a name: sync, which may be left empty,
// ssp:K with K from 1 to 1000, or async.
func ParseSync(name string) (Sync, error) {
	switch name {
	case "", "sync":
		return Sync{}, nil
	case "async":
		return Sync{Relaxed: true}, nil
	}
	if text, ok := strings.CutPrefix(name, "ssp:"); ok {
		if k, err := strconv.Atoi(text); err == nil && k >= 1 && k <= mostAhead && strconv.Itoa(k) == text {
			return Sync{Relaxed: true, Ahead: k}, nil
		}
		return Sync{}, fmt.Errorf("synchronisation %q: a worker may be 1 to %d steps ahead, as with ssp:2", name, mostAhead)
	}
	return Sync{}, fmt.Errorf("unknown synchronisation %q; want sync, ssp:K as in ssp:2, or async", name)
}

// String returns the name that ParseSync takes.
func (s Sync) String() string {
	switch {
	case !s.Relaxed:
		return "sync"
	case s.Ahead == 0:
		return "async"
	}
	return fmt.Sprintf("ssp:%d", s.Ahead)
}
