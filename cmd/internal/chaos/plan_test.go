package chaos

import (
	"reflect"
	"testing"
	"time"
)

func TestThePlanFollowsFromItsSeed(t *testing.T) {
	a, b := NewPlan(1, time.Second, time.Minute), NewPlan(1, time.Second, time.Minute)
	if !reflect.DeepEqual(a, b) {
		t.Error("two plans of one seed differ")
	}
	if reflect.DeepEqual(a, NewPlan(2, time.Second, time.Minute)) {
		t.Error("two seeds give the same plan")
	}
	longer := NewPlan(1, time.Second, 2*time.Minute)
	if !reflect.DeepEqual(a, longer[:len(a)]) {
		t.Error("a longer plan begins with other faults")
	}
}

func TestThePlanHasEveryKind(t *testing.T) {
	for seed := range uint64(20) {
		plan := NewPlan(seed, time.Second, time.Hour)
		seen := map[Kind]int{}
		for i, f := range plan {
			if seen[f.Kind]++; i < len(kinds) && seen[f.Kind] > 1 {
				t.Errorf("seed %d: %q comes again before all have come", seed, f.Kind)
			}
		}
		total := 0
		for _, k := range kinds {
			total += k.weight
		}
		for _, k := range kinds {
			want := float64(len(plan)) * float64(k.weight) / float64(total)
			if got := float64(seen[k.kind]); got < 0.6*want || got > 1.5*want+3 {
				t.Errorf("seed %d: %q comes %v times, its weight is worth %.0f", seed, k.kind, got, want)
			}
		}
	}
}

func TestFaultsComeAtTheirIntervalAndEnd(t *testing.T) {
	const interval, duration = 2 * time.Second, time.Hour
	plan := NewPlan(3, interval, duration)
	if n, want := len(plan), int(duration/interval); n < want*9/10 || n > want*11/10 {
		t.Errorf("%d faults, want about %d", n, want)
	}
	last := time.Duration(0)
	lasts := map[Kind]bool{}
	for _, k := range kinds {
		lasts[k.kind] = k.lasts
	}
	for _, f := range plan {
		if pause := f.At - last; pause < interval/2 || pause > interval*3/2 {
			t.Errorf("a pause of %v, want %v to %v", pause, interval/2, interval*3/2)
		}
		last = f.At
		if f.At >= duration {
			t.Errorf("a fault at %v, after the end", f.At)
		}
		if ends := f.For > 0; ends != lasts[f.Kind] || ends && (f.For < shortest || f.For > longest) {
			t.Errorf("%s lasts %v", f.Kind, f.For)
		}
	}
	if text := (Fault{Kind: KillEtcd, For: time.Second}).String(); text != "etcd killed for 1s" {
		t.Errorf("a fault is called %q", text)
	}
	if n := len(Kinds()); n != len(kinds) {
		t.Errorf("%d names of %d kinds", n, len(kinds))
	}
}
