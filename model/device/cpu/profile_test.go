package cpu_test

import (
	"testing"
	"time"

	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/model/params"
)

// profiled is a plan that takes its time.
type profiled interface {
	device.Plan
	Profile(on bool)
	Times(times []cpu.LayerTime) []cpu.LayerTime
}

// smallPlan returns a plan for lenet5 and a batch.
func smallPlan(t *testing.T, threads int) (*model.Network, profiled, *device.Batch) {
	t.Helper()
	n, err := model.New("lenet5", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := cpu.New(threads)
	if err != nil {
		t.Fatal(err)
	}
	b := batchOf(n, []int{5, 4})
	p, err := d.Compile(n.Graph, device.Options{Images: len(b.Labels), Nodes: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Close()
		d.Close()
	})
	n.Initialise(p.Parameters(), 1)
	p.Loaded(params.Range{First: 0, End: n.Graph.Parameters})
	return n, p.(profiled), b
}

func gradient(t *testing.T, p device.Plan, b *device.Batch, ready func(int, params.Range)) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := p.Gradient(b, ready); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

func TestProfileNamesEveryLayerAndAddsUp(t *testing.T) {
	for _, threads := range []int{1, 3} {
		n, p, b := smallPlan(t, threads)
		p.Profile(true)
		took := gradient(t, p, b, nil)
		took += gradient(t, p, b, nil)
		times := p.Times(nil)
		var names []string
		var sum time.Duration
		for _, row := range times {
			names = append(names, row.Layer)
			sum += row.Total()
		}
		want := []string{"input"}
		for _, l := range n.Layers {
			want = append(want, l.Label())
		}
		want = append(want, "loss")
		if len(names) != len(want) {
			t.Fatalf("rows %q, want %q", names, want)
		}
		for i, row := range times {
			if names[i] != want[i] {
				t.Errorf("row %d is of %q, want %q", i, names[i], want[i])
			}
			if row.Forward <= 0 {
				t.Errorf("%s: no time forward", row.Layer)
			}
			trains := row.Layer[:2] == "co" || row.Layer[:2] == "fc"
			if (row.Weights > 0) != trains {
				t.Errorf("%s: %v for gradients of its parameters", row.Layer, row.Weights)
			}
			// Nobody needs the gradient of the images.
			if inner := i > 1 && i < len(times)-1; (row.Backward > 0) != inner {
				t.Errorf("%s: %v for gradients of its input", row.Layer, row.Backward)
			}
		}
		if sum > took {
			t.Errorf("rows add up to %v, the calls took %v", sum, took)
		}
	}
}

func TestTimesBeginsAnew(t *testing.T) {
	_, p, b := smallPlan(t, 1)
	p.Profile(true)
	gradient(t, p, b, nil)
	first := p.Times(nil)
	again := p.Times(first)
	if len(again) != 2*len(first) {
		t.Fatalf("%d rows after %d more were asked for, want twice as many", len(again), len(first))
	}
	for _, row := range again[len(first):] {
		if row.Total() != 0 || row.Layer == "" {
			t.Errorf("with no call since, %q took %v", row.Layer, row.Total())
		}
	}
	if gradient(t, p, b, nil); p.Times(nil)[1].Forward <= 0 {
		t.Error("no time is taken after Times")
	}
}

func TestWhatReadyTakesCountsNowhere(t *testing.T) {
	_, p, b := smallPlan(t, 1)
	p.Profile(true)
	var waited time.Duration
	took := gradient(t, p, b, func(int, params.Range) {
		start := time.Now()
		for time.Since(start) < 5*time.Millisecond { // far more than a layer takes
		}
		waited += time.Since(start)
	})
	var sum time.Duration
	for _, row := range p.Times(nil) {
		sum += row.Total()
	}
	if waited == 0 || sum > took-waited {
		t.Errorf("rows add up to %v; the call took %v, of which ready %v", sum, took, waited)
	}
}

func TestProfileIsOffUnlessAskedFor(t *testing.T) {
	_, p, b := smallPlan(t, 1)
	gradient(t, p, b, nil)
	if rows := p.Times(nil); len(rows) != 0 {
		t.Errorf("%d rows before any were asked for", len(rows))
	}
	p.Profile(true)
	p.Profile(false)
	gradient(t, p, b, nil)
	if rows := p.Times(nil); len(rows) != 0 {
		t.Errorf("%d rows after they were asked for no longer", len(rows))
	}
	p.Close()
	p.Profile(true)
	if rows := p.Times(nil); len(rows) != 0 {
		t.Errorf("%d rows of a closed plan", len(rows))
	}
}

func TestProfileAllocatesNothingInACall(t *testing.T) {
	_, p, b := smallPlan(t, 2)
	for _, on := range []bool{false, true} {
		p.Profile(on)
		var rows [32]cpu.LayerTime
		if n := testing.AllocsPerRun(5, func() {
			gradient(t, p, b, nil)
			p.Times(rows[:0])
		}); n != 0 {
			t.Errorf("profile %v: %v allocations", on, n)
		}
	}
}
