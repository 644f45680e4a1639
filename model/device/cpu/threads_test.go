package cpu

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// count counts how often each unit is run, and by threads of what numbers.
type count struct {
	units   []atomic.Int32
	threads atomic.Int64
}

func (c *count) do(thread, unit int) {
	c.units[unit].Add(1)
	for {
		old := c.threads.Load()
		if int64(thread) <= old || c.threads.CompareAndSwap(old, int64(thread)) {
			return
		}
	}
}

func TestEachUnitRunsOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := &pool{threads: threads}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		for _, units := range []int{0, 1, 2, 3, 7, 1000} {
			c := &count{units: make([]atomic.Int32, units)}
			p.run(units, c)
			for i := range c.units {
				if n := c.units[i].Load(); n != 1 {
					t.Errorf("%d threads: unit %d of %d ran %d times", threads, i, units, n)
				}
			}
			if n := c.threads.Load(); n >= int64(threads) {
				t.Errorf("%d threads: one has the number %d", threads, n)
			}
		}
		p.stop()
	}
}

func TestCloseEndsThreads(t *testing.T) {
	before := runtime.NumGoroutine()
	d, err := New(4)
	if err != nil {
		t.Fatal(err)
	}
	if n := runtime.NumGoroutine(); n != before {
		t.Errorf("New started %d goroutines", n-before)
	}
	g := &device.Graph{
		Input: device.Shape{C: 2, H: 1, W: 1}, Classes: 2, Parameters: 6,
		Ops: []device.Op{&device.Dense{
			Place:  device.Place{In: device.Shape{C: 2, H: 1, W: 1}, Out: device.Shape{C: 2, H: 1, W: 1}},
			Weight: params.Range{First: 0, End: 4}, Bias: params.Range{First: 4, End: 6},
		}},
	}
	for range 2 {
		if _, err := d.Compile(g, device.Options{Images: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if n := runtime.NumGoroutine(); n != before+3 {
		t.Errorf("%d goroutines beside the caller's, want 3", n-before)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// Threads are waited for, but a goroutine that has ended may still be counted.
	for range 1000 {
		if runtime.NumGoroutine() <= before {
			break
		}
		runtime.Gosched()
	}
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines after Close", n-before)
	}
	if _, err := d.Compile(g, device.Options{Images: 1}); err == nil {
		t.Error("Compile after Close: no error")
	}
}

func TestNewChecksThreads(t *testing.T) {
	for _, tc := range []struct {
		threads int
		ok      bool
		name    string
	}{{-1, false, ""}, {maxThreads + 1, false, ""}, {3, true, "cpu/3 "}, {0, true, "cpu/"}} {
		d, err := New(tc.threads)
		if (err == nil) != tc.ok {
			t.Errorf("New(%d): error %v, want ok=%v", tc.threads, err, tc.ok)
		}
		if tc.ok && !strings.HasPrefix(d.Name(), tc.name) {
			t.Errorf("New(%d) is called %q, want %q and the kernels", tc.threads, d.Name(), tc.name)
		}
	}
}

// TestThreadsThatSleepAreWoken makes pauses between runs longer than threads
// look for the next one, and units longer than the caller looks for their end.
func TestThreadsThatSleepAreWoken(t *testing.T) {
	p := &pool{threads: 3}
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	asleep := func(parks ...*park) {
		for _, k := range parks {
			for !k.asleep.Load() {
				time.Sleep(100 * time.Microsecond)
			}
		}
	}
	for range 20 {
		asleep(p.parks...)
		met := &meeting{want: 3, all: make(chan struct{})}
		p.run(3, met) // ends once three threads have met: each has been woken
		asleep(p.parks...)
		var ended atomic.Int32
		met = &meeting{want: 2, all: make(chan struct{})}
		p.run(2, unitOf(func(thread, unit int) {
			met.do(thread, unit)
			if thread != 0 {
				asleep(&p.caller)
			}
			ended.Add(1)
		}))
		if n := ended.Load(); n != 2 {
			t.Fatalf("run returned after %d of 2 units", n)
		}
	}
}

// meeting is a task whose units end when as many threads as wanted are at it.
type meeting struct {
	want int32
	n    atomic.Int32
	all  chan struct{}
}

func (m *meeting) do(_, _ int) {
	if m.n.Add(1) == m.want {
		close(m.all)
	}
	<-m.all
}

type unitOf func(thread, unit int)

func (f unitOf) do(thread, unit int) { f(thread, unit) }

// TestRunsFollowEachOther hands out many small runs, which threads come to late,
// early or not at all; each unit writes what the next run reads.
func TestRunsFollowEachOther(t *testing.T) {
	for _, threads := range []int{2, 3, 8} {
		p := &pool{threads: threads}
		if err := p.start(); err != nil {
			t.Fatal(err)
		}
		const width = 64
		var values [2][width]int
		for round := range 2000 {
			from, to := &values[round%2], &values[1-round%2]
			p.run(2+round%(width-1), unitOf(func(_, unit int) { to[unit] = from[(unit+1)%width] + 1 }))
			for unit := 2 + round%(width-1); unit < width; unit++ {
				to[unit] = from[(unit+1)%width] + 1
			}
		}
		for i, v := range values[0] {
			if v != 2000 {
				t.Fatalf("%d threads: value %d is %d after 2000 runs", threads, i, v)
			}
		}
		p.stop()
	}
}

// BenchmarkLooks is how long a thread looks in vain before it sleeps.
func BenchmarkLooks(b *testing.B) {
	var k park
	k.init()
	for b.Loop() {
		look := 0
		k.until(func() bool { look++; return look == looks })
	}
}
