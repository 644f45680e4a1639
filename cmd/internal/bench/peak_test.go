package bench

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/kernel"
)

func TestCrewDoesItOnEveryThread(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		var counts [5]atomic.Int32
		c := newCrew(threads, func(thread int) { counts[thread].Add(1) })
		for range 3 {
			c.run()
		}
		for i := range counts {
			want := int32(0)
			if i < threads {
				want = 3
			}
			if got := counts[i].Load(); got != want {
				t.Errorf("%d threads: thread %d ran %d times of 3, want %d", threads, i, got, want)
			}
		}
		if n := testing.AllocsPerRun(10, c.run); n != 0 {
			t.Errorf("%d threads: a run allocates %v times", threads, n)
		}
		c.close()
	}
}

func TestPeakIsTheMedianOfItsBursts(t *testing.T) {
	p := NewPeak(1, 4)
	defer p.Close()
	if p.Rate() != 0 {
		t.Errorf("a rate of %v before the first burst", p.Rate())
	}
	p.rates = append(p.rates, 3, 1, 1000)
	if p.Rate() != 3 {
		t.Errorf("rate %v, want the median 3", p.Rate())
	}
}

// Operations of all threads count, over the time of all.
func TestPeakAddsThreadsUp(t *testing.T) {
	const threads = 3
	p := NewPeak(threads, 1)
	defer p.Close()
	start := time.Now()
	p.Burst()
	took := time.Since(start)
	n := 0
	for _, operations := range p.operations {
		n += operations
	}
	if want := threads * kernel.Peak(1) * p.turns; n != want {
		t.Errorf("%d operations in a burst, want %d", n, want)
	}
	if least := float64(n) / took.Seconds(); p.Rate() < least {
		t.Errorf("rate %v, where the whole call makes %v", p.Rate(), least)
	}
}

// A run that was disturbed does not tell that its turns are enough.
func TestBurstsAreLongEnough(t *testing.T) {
	runs := 0
	turns := turnsOf(burst, 1, func(turns int) time.Duration {
		if runs++; runs%3 == 1 {
			return time.Second
		}
		return time.Duration(turns) * time.Microsecond
	})
	if want := 8192; turns != want { // the first power of 2 whose microseconds are 5 ms
		t.Errorf("%d turns make a burst, want %d", turns, want)
	}
}

func TestBurstAllocatesNothing(t *testing.T) {
	p := NewPeak(2, 100)
	defer p.Close()
	if n := testing.AllocsPerRun(5, p.Burst); n != 0 {
		t.Errorf("a burst allocates %v times", n)
	}
}

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		in   []int
		want int
	}{{nil, 0}, {[]int{7}, 7}, {[]int{9, 1}, 1}, {[]int{3, 1, 2}, 2}, {[]int{4, 1, 3, 2}, 2}} {
		if got := median(tc.in); got != tc.want {
			t.Errorf("median(%v) = %d, want %d", tc.in, got, tc.want)
		}
	}
}
