package main

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/muster-train/muster/paramserver"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func TestSummary(t *testing.T) {
	cfg := paramserver.Config{Job: &musterv1.JobSpec{Name: "j", Network: "lenet5", Epochs: 3}}
	full := paramserver.Result{
		Step: 30, Samples: 3840, Checkpoint: "dir/step-30.ckpt",
		Epochs: []checkpoint.EpochScore{{Top1: 0.5, TestLoss: 1.5}, {Epoch: 1, Top1: 0.375, TestLoss: 1.75}},
		Best:   &checkpoint.Score{Epoch: 0, Accuracy: 0.5},
		Split:  paramserver.Split{Compute: 5 * time.Second, Exchange: 2 * time.Second, Wait: time.Second, Evaluate: time.Second, Images: 3840},
	}
	synthetic, already, relaxed := full, full, full
	relaxed.Staleness = &paramserver.Staleness{Mean: 0.75, Max: 3, Ahead: 2}
	synthetic.Synthetic, already.Already = true, true
	for _, tc := range []struct {
		name   string
		result paramserver.Result
		want   []string // rows, in order, spaces squeezed
	}{
		{"full", full, []string{
			"network lenet5 on CIFAR-10", "steps 30, 3840 images", "epochs 2 evaluated", "test accuracy last 37.50 %, loss 1.7500", "best 50.00 % after epoch 1",
			"images/s 480", "time 10s: compute 50 %, exchange and update 20 %, wait 10 %, evaluation 10 %", "checkpoint dir/step-30.ckpt",
		}},
		{"synthetic", synthetic, []string{"network lenet5 on synthetic images, not CIFAR-10", "steps 30"}},
		{"done before", already, []string{`job "j" was already done; --epochs with more than 3 trains on, --resume none begins anew`, "network lenet5"}},
		{"relaxed", relaxed, []string{
			"network", "steps", "epochs", "test accuracy", "best", "images/s", "time",
			"staleness 0.8 updates in the mean, 3 at most; 2 steps ahead at most", "checkpoint",
		}},
		{"nothing yet", paramserver.Result{}, []string{"network lenet5 on CIFAR-10", "steps 0, 0 images"}},
	} {
		var out strings.Builder
		if err := summarise(&out, cfg, tc.result, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		rows := strings.Split(regexp.MustCompile(` +`).ReplaceAllString(out.String(), " "), "\n")
		for i, want := range tc.want {
			if i >= len(rows) || !strings.HasPrefix(strings.TrimSpace(rows[i]), want) {
				t.Errorf("%s: row %d is not %q:\n%s", tc.name, i, want, out.String())
				break
			}
		}
	}
	var out strings.Builder
	if err := summarise(&out, cfg, paramserver.Result{}, 0); err != nil || strings.Contains(out.String(), "accuracy") || strings.Contains(out.String(), "images/s") || strings.Contains(out.String(), "checkpoint") {
		t.Errorf("of a run that came to nothing: %v\n%s", err, out.String())
	}
}

func TestShare(t *testing.T) {
	for _, tc := range []struct {
		part, whole time.Duration
		want        string
	}{
		{0, time.Second, "0 %"}, {time.Second, 3 * time.Second, "33 %"}, {time.Second, time.Second, "100 %"}, {time.Second, 0, "0 %"},
	} {
		if got := share(tc.part, tc.whole); got != tc.want {
			t.Errorf("share(%v, %v) = %s, want %s", tc.part, tc.whole, got, tc.want)
		}
	}
}
