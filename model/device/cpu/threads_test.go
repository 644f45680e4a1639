package cpu

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

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
