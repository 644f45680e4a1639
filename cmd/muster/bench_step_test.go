package main

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/bench"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model"
)

// benchStepArguments measure in no time.
func benchStepArguments(more string) []string {
	return strings.Fields("bench step --network lenet5 --threads 1 --batch 16 --steps 2 --log-level error " + more)
}

func TestBenchStepPrintsALineOfJSON(t *testing.T) {
	var line stepLine
	prints(t, &line, benchStepArguments("--json")...)
	if line.Network != "lenet5" || line.Threads != 1 || line.Batch != 16 || line.Shards != 8 || line.InputSize != 32 || line.Steps != 2 || line.Kernel != kernel.Name() {
		t.Errorf("measured was %+v", line)
	}
	if line.AllocatedBytes != 0 {
		t.Errorf("%d bytes allocated by a step", line.AllocatedBytes)
	}
	if want := 16 / (line.Milliseconds / 1e3); line.Milliseconds <= 0 || math.Abs(line.ImagesPerSecond/want-1) > 1e-9 {
		t.Errorf("%v images/s at %v ms", line.ImagesPerSecond, line.Milliseconds)
	}
	n, err := model.New("lenet5", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	total := n.Total()
	if want := float64(total.Forward.Plus(total.Backward).Needed) * line.ImagesPerSecond / 1e9; math.Abs(line.GFLOPS/want-1) > 1e-9 {
		t.Errorf("%v GFLOP/s, want %v", line.GFLOPS, want)
	}
	if want := line.GFLOPS / line.PeakGFLOPS; line.PeakGFLOPS <= 0 || math.Abs(line.PeakShare/want-1) > 1e-9 {
		t.Errorf("share %v of a peak of %v", line.PeakShare, line.PeakGFLOPS)
	}
	if line.UpdateMS <= 0 || line.UpdateMS >= line.Milliseconds {
		t.Errorf("update of %v ms in a step of %v", line.UpdateMS, line.Milliseconds)
	}
	if line.Layers != nil || line.PortableRatio != 0 {
		t.Errorf("layers %v and a ratio of %v that nobody asked for", line.Layers, line.PortableRatio)
	}
}

// The names of fields are what others read.
func TestBenchStepFields(t *testing.T) {
	var line map[string]any
	prints(t, &line, benchStepArguments("--json --layers --portable")...)
	for _, name := range []string{
		"network", "threads", "batch", "images_per_second", "gflops", "peak_share", "bytes_allocated_per_step",
		"portable_images_per_second", "portable_ratio", "layers",
	} {
		if line[name] == nil {
			t.Errorf("no field %s in %v", name, line)
		}
	}
	if kernel.Name() == "portable" {
		return
	}
	if ratio, _ := line["portable_ratio"].(float64); ratio < 1.5 {
		t.Errorf("%s kernels are %v times as fast as the portable ones", kernel.Name(), ratio)
	}
}

func TestPortableComparisonLeavesTheKernels(t *testing.T) {
	before := kernel.Name()
	var line stepLine
	prints(t, &line, benchStepArguments("--json --portable --shards 16")...)
	if kernel.Name() != before || line.Kernel != before {
		t.Errorf("kernels %s measured, %s after it, want %s", line.Kernel, kernel.Name(), before)
	}
}

func TestBenchStepMeasuresEachNetworkAndNumberOfThreads(t *testing.T) {
	status, stdout, stderr := muster(t.Context(), strings.Fields("bench step --network simple-cnn,lenet5 --threads 2,1 --batch 16 --steps 2 --json")...)
	if status != settings.StatusDone {
		t.Fatalf("status %d: %s", status, stderr)
	}
	type key struct {
		network string
		threads int
	}
	var got []key
	for d := json.NewDecoder(strings.NewReader(stdout)); d.More(); {
		var line stepLine
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		got = append(got, key{line.Network, line.Threads})
	}
	want := []key{{"simple-cnn", 2}, {"simple-cnn", 1}, {"lenet5", 2}, {"lenet5", 1}}
	if !slices.Equal(got, want) {
		t.Errorf("measured %v, want %v", got, want)
	}
}

func TestBenchStepTable(t *testing.T) {
	status, stdout, stderr := muster(t.Context(), benchStepArguments("--layers")...)
	if status != settings.StatusDone {
		t.Fatalf("status %d: %s", status, stderr)
	}
	lines := strings.Split(stdout, "\n")
	if f := strings.Fields(lines[1]); len(f) != 10 || f[0] != "lenet5" || f[1] != "3x32x32" || f[2] != "1" || f[3] != "16" || f[9] != "0" {
		t.Errorf("row %q", lines[1])
	}
	for _, want := range []string{kernel.Name() + " kernels, f32 factors, 8 shards", "useful operations", "lenet5, 1 thread, milliseconds", "conv1", "fc5", "loss", "update"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("lacks %q:\n%s", want, stdout)
		}
	}
	if strings.Contains(stdout, "portable ") {
		t.Errorf("tells of a comparison that nobody asked for:\n%s", stdout)
	}
}

// stepConfigs are what the flags ask to measure.
func stepConfigs(t *testing.T, args string) []bench.StepConfig {
	t.Helper()
	var o benchStepOptions
	cmd := o.command()
	if err := cmd.ParseFlags(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	configs, err := o.configs(cmd)
	if err != nil {
		t.Fatalf("%s: %v", args, err)
	}
	return configs
}

func TestBenchStepChoosesSizes(t *testing.T) {
	for _, tc := range []struct {
		args        string
		network     string
		batch, side int
	}{
		{"--network all", "alexnet", 128, 32},
		{"--network all", "alexnet-tf", 128, 64}, // as muster compare takes it
		{"--network all", "alexnet-2012", 32, 227},
		{"--network all --batch 64", "alexnet-2012", 64, 227},
		{"--network alexnet-2012 --shards 64", "alexnet-2012", 64, 227},
		{"--network all --input-size alexnet-tf=96,alexnet-2012=99", "alexnet-tf", 128, 96},
		{"--network all --input-size alexnet-tf=96,alexnet-2012=99", "alexnet-2012", 32, 99},
	} {
		configs := stepConfigs(t, tc.args)
		found := false
		for _, cfg := range configs {
			if cfg.Network.Name != tc.network {
				continue
			}
			found = true
			if cfg.Batch != tc.batch || cfg.Network.Preprocess.Side != tc.side {
				t.Errorf("%s: %s in batches of %d at %d pixels, want %d at %d", tc.args, tc.network, cfg.Batch, cfg.Network.Preprocess.Side, tc.batch, tc.side)
			}
		}
		if !found {
			t.Errorf("%s: %s is not measured", tc.args, tc.network)
		}
	}
}

func TestAllMeasuresEveryNetwork(t *testing.T) {
	var names []string
	for _, cfg := range stepConfigs(t, "--network all --threads 3") {
		names = append(names, cfg.Network.Name)
	}
	if !slices.Equal(names, model.Names()) {
		t.Errorf("measured are %q, want %q", names, model.Names())
	}
}

func TestBenchStepRefuses(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--network lenet6", "did you mean lenet5?"},
		{"--network all,lenet5", "--network all,lenet5: all stands alone"},
		{"--threads 0", "--threads 0: 1 to"},
		{"--threads 1,many", "--threads"},
		{"--threads 99999", "--threads 99999: 1 to"},
		{"--batch 100", "--batch 100 is not divisible by --shards 8: 96 or 104 would be"},
		{"--batch 4", "--batch 4 is not divisible by --shards 8: 8 would be"},
		{"--batch 0", "--batch 0: at least 1 image"},
		{"--shards 0", "--shards 0: at least 1"},
		{"--steps -1", "--steps -1: at least 1"},
		{"--precision fp8", `--precision: unknown precision "fp8"; want f32 or bf16`},
		{"--time 0s", "--time 0s: more than 0"},
		{"--time 3s --steps 5", "exclude each other"},
		{"--input-size lenet5=40", "lenet5=40: it is not one of the networks measured, alexnet"},
		{"--network lenet5 --input-size lenet5=0", "lenet5=0: at least 1 pixel"},
		{"--network alexnet-tf --input-size alexnet-tf=32", "smallest input size"},
		{"extra", "takes no arguments"},
	} {
		status, stdout, stderr := muster(t.Context(), append([]string{"bench", "step"}, strings.Fields(tc.args)...)...)
		first, _, _ := strings.Cut(stderr, "\nsee ") // what cobra refuses ends in a line on help
		if status != settings.StatusUsage || stdout != "" || !strings.Contains(first, tc.want) || strings.Count(strings.TrimSpace(first), "\n") != 0 {
			t.Errorf("bench step %s: status %d, %q; want one sentence with %q", tc.args, status, stderr, tc.want)
		}
	}
	if status, stdout, stderr := muster(t.Context(), "bench", "stop"); status != settings.StatusUsage || stdout != "" || !strings.Contains(stderr, "did you mean step?") {
		t.Errorf("bench stop: status %d, %q", status, stderr)
	}
	if status, stdout, _ := muster(t.Context(), "bench"); status != settings.StatusDone || !strings.Contains(stdout, "step") {
		t.Errorf("bench: status %d, %q; want help that names step", status, stdout)
	}
}
