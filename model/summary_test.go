package model

import (
	"math"
	"testing"
)

// TestAlexNetCostsWhatIsSaid holds the two numbers of docs/networks.md.
func TestAlexNetCostsWhatIsSaid(t *testing.T) {
	total := build(t, "alexnet", Options{}).Total()
	all := total.Forward.Plus(total.Backward)
	for _, tc := range []struct {
		name  string
		got   int64
		mflop float64
	}{{"textbook", all.Textbook, 164}, {"needed", all.Needed, 126}} {
		if got := float64(tc.got) / 1e6; math.Abs(got-tc.mflop) > 0.5 {
			t.Errorf("%s cost of one image forward and backward %.2f MFLOP, want about %g", tc.name, got, tc.mflop)
		}
	}
	if got := (FLOPs{55494912, 42836544}); total.Forward != got {
		t.Errorf("forward %+v, want %+v", total.Forward, got)
	}
}

func TestPaddedTapsAreNotNeeded(t *testing.T) {
	// conv2 uses 9 of 25 taps, conv3 to conv5 1 of 9; a fully connected layer all.
	want := map[string]float64{"conv2": 9. / 25, "conv3": 1. / 9, "conv4": 1. / 9, "conv5": 1. / 9, "fc6": 1, "fc7": 1, "fc8": 1}
	for _, r := range build(t, "alexnet", Options{}).Summary() {
		if ratio, ok := want[r.Name]; ok {
			if got := float64(r.Forward.Needed) / float64(r.Forward.Textbook); math.Abs(got-ratio) > 1e-12 {
				t.Errorf("%s needs %.4f of the textbook's cost, want %.4f", r.Name, got, ratio)
			}
		}
	}
}

func TestSummaryAddsUp(t *testing.T) {
	for _, name := range Names() {
		n := build(t, name, Options{})
		var sum LayerInfo
		first := true
		for _, r := range n.Summary() {
			sum.Parameters += r.Parameters
			sum.Forward = sum.Forward.Plus(r.Forward)
			sum.Backward = sum.Backward.Plus(r.Backward)
			sum.ActivationBytes += r.ActivationBytes
			if r.Forward.Needed > r.Forward.Textbook {
				t.Errorf("%s %s needs more than the textbook's: %+v", name, r.Name, r.Forward)
			}
			times := int64(2) // gradients of weights and input
			if r.Forward.Textbook > 0 && first {
				times, first = 1, false
			}
			if r.Backward != r.Forward.Times(times) {
				t.Errorf("%s %s: backward %+v, want %d times %+v", name, r.Name, r.Backward, times, r.Forward)
			}
			if got, want := r.ActivationBytes, 4*r.Output.C*r.Output.H*r.Output.W; got != want {
				t.Errorf("%s %s: %d bytes of activations, want %d", name, r.Name, got, want)
			}
		}
		total := n.Total()
		if sum.Parameters != n.Layout.Size() || total.Parameters != n.Layout.Size() {
			t.Errorf("%s: rows add up to %d parameters, total %d, layout %d", name, sum.Parameters, total.Parameters, n.Layout.Size())
		}
		if total.Forward != sum.Forward || total.Backward != sum.Backward || total.ActivationBytes != sum.ActivationBytes {
			t.Errorf("%s: total %+v, want %+v", name, total, sum)
		}
		if total.Name != name || total.Detail != n.Title || total.Output.C != n.Classes {
			t.Errorf("%s: total is told as %q, %q, %v", name, total.Name, total.Detail, total.Output)
		}
	}
}
