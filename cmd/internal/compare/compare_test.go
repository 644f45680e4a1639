package compare

import (
	"bytes"
	"encoding/json"
	"flag"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-train/muster/paramserver/checkpoint"
)

var rewrite = flag.Bool("rewrite", false, "write the page as it is now into testdata")

// epochs are scores of the accuracies and seconds given.
func epochs(seconds []float64, top1 ...float64) []checkpoint.EpochScore {
	var all []checkpoint.EpochScore
	for i, a := range top1 {
		all = append(all, checkpoint.EpochScore{
			Epoch: i, Top1: checkpoint.Float(a), Top5: checkpoint.Float(min(1, 2*a)), Seconds: checkpoint.Float(seconds[i]),
			TestLoss: checkpoint.Float(2 - a), TrainLoss: checkpoint.Float(2.5 - a),
		})
	}
	return all
}

// experiment is the article's, with numbers made up.
func experiment() *Experiment {
	return &Experiment{
		Command:  "muster compare --epochs 3",
		Settings: Settings{Epochs: 3, Batch: 128, Shards: 8, Seed: 1, Workers: 1, Threads: 2, Device: "cpu/2 avx2"},
		Machine:  Machine{CPU: "A CPU", CPUs: 2, MemoryBytes: 8 << 30, System: "linux/amd64", Go: "go1.26", Kernel: "avx2", Version: "v1", Commit: "abc"},
		Data:     Data{Name: "cifar10", Fingerprint: "0123456789abcdef0123", Train: 50000, Test: 10000, Classes: 10},
		Runs: []Run{
			{Network: "alexnet", Side: 32, OwnSide: 32, Parameters: 100, FLOP: 164e6, LearningRate: 0.1, Momentum: 0.9, WeightDecay: 2e-4, Schedule: "discexp:0.1,5e6", Augment: "none", Samples: 150000, Hash: "aa", Command: "muster train --network alexnet", Epochs: epochs([]float64{100, 300, 110}, 0.2, 0.4, 0.5)},
			{Network: "alexnet-lrn", Side: 32, OwnSide: 32, Parameters: 100, FLOP: 170e6, LearningRate: 0.1, Momentum: 0.9, WeightDecay: 2e-4, Schedule: "discexp:0.1,5e6", Augment: "none", Samples: 150000, Hash: "bb", Command: "muster train --network alexnet-lrn", Epochs: epochs([]float64{120, 120, 130}, 0.2, 0.6, 0.55)},
			{Network: "alexnet-tf", Side: 64, OwnSide: 224, SideChosen: true, Parameters: 300, FLOP: 337e6, LearningRate: 0.01, Momentum: 0.9, WeightDecay: 5e-4, Schedule: "constant", Augment: "none", Samples: 150000, Hash: "cc", Command: "muster train --network alexnet-tf --input-size 64", Epochs: epochs([]float64{300, 300, 301}, 0.2, 0.4, 0.52)},
		},
	}
}

func TestThePageIsAsCommitted(t *testing.T) {
	golden := filepath.Join("testdata", "report.md")
	got := experiment().Markdown()
	if *rewrite {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the page differs (-want +got; -rewrite writes it, then read it):\n%s", diff)
	}
}

func TestWhatThePageSays(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(x *Experiment)
		want   []string
		not    []string
	}{
		{"as the article", func(*Experiment) {}, []string{
			"alexnet-lrn was the most accurate with 55.00 % of the test images; alexnet-lrn took the least time, 6m10s",
			"So it is here for the accuracy: 55.00 % with, 50.00 % without. So it is here for the time: 2m00s with, 1m50s without",
			"here it has an accuracy of 52.00 % and 5m00s an epoch, on images of 64 pixels a side", "wants images of 224 pixels",
		}, []string{"synthetic", "Not so"}},
		{"the other way", func(x *Experiment) { x.Runs[0].Epochs = epochs([]float64{200, 300, 210}, 0.2, 0.4, 0.9) }, []string{
			"alexnet was the most accurate with 90.00 %", "Not so here for the accuracy", "Not so here for the time",
		}, []string{"So it is"}},
		{"synthetic", func(x *Experiment) { x.Data.Synthetic = true }, []string{"**Trained on the built-in synthetic images, not on CIFAR-10"}, []string{"Data: CIFAR-10"}},
		{"one network", func(x *Experiment) { x.Runs = x.Runs[:1] }, []string{"# alexnet, 3 epochs", "alexnet reached a test accuracy of 50.00 %"}, []string{"article", "224"}},
		{"other networks", func(x *Experiment) { x.Runs[0].Network = "lenet5" }, []string{"# lenet5, alexnet-lrn and alexnet-tf compared"}, []string{"article"}},
		{"a run that diverged", func(x *Experiment) {
			x.Runs[0].Epochs[2].TestLoss, x.Runs[0].Epochs[2].TrainLoss = checkpoint.Float(math.NaN()), checkpoint.Float(math.Inf(1))
		}, []string{"| not known |"}, []string{"NaN"}},
		{"few batches", func(x *Experiment) { x.Settings.Limit = 7; x.Settings.Workers = 2 }, []string{"of at most 7 batches", "2 workers of 2 threads"}, nil},
	} {
		x := experiment()
		tc.change(x)
		got := x.Markdown()
		for _, w := range tc.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: the page doesn't say %q", tc.name, w)
			}
		}
		for _, w := range tc.not {
			if strings.Contains(got, w) {
				t.Errorf("%s: the page says %q", tc.name, w)
			}
		}
	}
}

func TestAReportIsWrittenWhole(t *testing.T) {
	x := experiment()
	x.Runs[0].Epochs[1].TestLoss = checkpoint.Float(math.NaN())
	dir := filepath.Join(t.TempDir(), "new")
	if err := Write(dir, x); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, ReportFile))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 6 {
		t.Errorf("wrote %v, %v; want six files", entries, err)
	}
	for _, e := range entries {
		if name := e.Name(); name != ReportFile && !strings.Contains(string(page), "]("+name+")") {
			t.Errorf("the page doesn't link %s", name)
		}
	}
	data, err := os.ReadFile(filepath.Join(dir, ResultsFile))
	if err != nil {
		t.Fatal(err)
	}
	var back Experiment
	if err := json.Unmarshal(data, &back); err != nil || back.Markdown() != x.Markdown() {
		t.Errorf("the results don't give the page again: %v", err)
	}
}

func TestJSONHasALineForEachNetwork(t *testing.T) {
	x := experiment()
	x.Runs[1].Epochs = nil // nothing evaluated
	var out bytes.Buffer
	if err := x.JSONLines(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.Contains(lines[0], `"top1":0.5`) || !strings.Contains(lines[1], `"top1":"NaN"`) || !strings.Contains(lines[0], `"seconds":510`) {
		t.Errorf("printed %s", out.String())
	}
}

func TestTimes(t *testing.T) {
	r := Run{Samples: 600, Epochs: epochs([]float64{4, 1, 9}, 0.1, 0.3, 0.3)}
	if got := r.EpochSeconds(); got != 4 {
		t.Errorf("median of 4, 1, 9 is %v", got)
	}
	if got := r.ImagesPerSecond(); got != 50 {
		t.Errorf("%v images/s, want 50: 200 an epoch in 4 s", got)
	}
	if got := r.Best(); got.Epoch != 1 {
		t.Errorf("best is epoch %d, want the first of equals, 1", got.Epoch)
	}
	r.Epochs = r.Epochs[:2]
	if got := r.EpochSeconds(); got != 2.5 {
		t.Errorf("median of 4, 1 is %v", got)
	}
	for in, want := range map[float64]string{7.31: "7.3s", 59.94: "59.9s", 125: "2m05s", 3599.7: "60m00s", 3720: "1h02m", math.NaN(): "not known"} {
		if got := clock(in); got != want {
			t.Errorf("clock(%v) = %q, want %q", in, got, want)
		}
	}
}

func TestThisMachineIsDescribed(t *testing.T) {
	m := ThisMachine("avx2", "v1", "abc")
	if m.CPU == "" || m.CPUs < 1 || m.System == "" || m.Go == "" || m.Kernel != "avx2" {
		t.Errorf("%+v", m)
	}
	if field("/nonexistent", "x") != "" || field("/proc/meminfo", "no such line") != "" {
		t.Error("a field that is not there has a value")
	}
}
