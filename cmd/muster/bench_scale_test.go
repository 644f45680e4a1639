package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/model"
)

// benchScaleArguments measure in a moment.
func benchScaleArguments(more string) []string {
	return strings.Fields("bench scale --network lenet5 --steps 1 --shards 4 --log-level error " + more)
}

func TestBenchScalePrintsALineForEachNumberOfWorkersAndKindOfComputing(t *testing.T) {
	status, stdout, stderr := muster(t.Context(), benchScaleArguments("--workers 4,1 --compute fast=100us,slow=5ms --bandwidth 1Gbit --delay 1ms --json")...)
	if status != settings.StatusDone {
		t.Fatalf("status %d: %s", status, stderr)
	}
	net, err := model.New("lenet5", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bytes := float64(4 * net.Layout.Size())
	type key struct {
		workers int
		compute string
		seconds float64
	}
	var got []key
	for line := range strings.Lines(stdout) {
		var l scaleLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatal(err)
		}
		got = append(got, key{l.Workers, l.Compute, l.ComputeSeconds})
		if l.Network != "lenet5" || l.Bandwidth != 1e9 || l.Delay != 0.001 || l.Encoding != "f32" || l.Shards != 4 || l.Steps != 1 {
			t.Errorf("measured was %+v", l)
		}
		// Each worker owns sibling shards, and so sends one sum; a twentieth is for
		// what is about the values.
		for direction, b := range map[string]float64{"up": l.UpBytes, "down": l.DownBytes} {
			if b < bytes || b > 1.05*bytes {
				t.Errorf("%d workers: %v bytes %s, want those of %v", l.Workers, b, direction, bytes)
			}
		}
		// However slow this machine is, no link passes more than it can.
		if l.BoundSeconds < l.ComputeSeconds+2*l.Delay || l.Step < 0.95*l.BoundSeconds {
			t.Errorf("%d workers, %s: a step of %v s is shorter than is possible, %v s", l.Workers, l.Compute, l.Step, l.BoundSeconds)
		}
		if e := l.ComputeSeconds / l.Step; math.Abs(l.Efficiency/e-1) > 1e-6 {
			t.Errorf("%d workers, %s: efficiency %v, want %v", l.Workers, l.Compute, l.Efficiency, e)
		}
		if l.Dilation < 1 {
			t.Errorf("%d workers, %s: dilation %v", l.Workers, l.Compute, l.Dilation)
		}
	}
	want := []key{{4, "fast", 1e-4}, {4, "slow", 5e-3}, {1, "fast", 1e-4}, {1, "slow", 5e-3}}
	if len(got) != len(want) {
		t.Fatalf("measured %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("line %d is of %v, want %v", i, got[i], want[i])
		}
	}
}

// The names of fields are what others read.
func TestBenchScaleFields(t *testing.T) {
	var line map[string]any
	prints(t, &line, benchScaleArguments("--workers 1 --compute a=1ms --json")...)
	for _, name := range []string{"network", "workers", "compute", "bandwidth_bits", "delay_seconds", "encoding", "seconds_per_step", "efficiency", "dilation"} {
		if line[name] == nil {
			t.Errorf("no field %s in %v", name, line)
		}
	}
}

func TestBenchScalePrintsATableAndDraws(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scale.svg")
	status, stdout, stderr := muster(t.Context(), benchScaleArguments("--workers 1,2 --compute cpu=1ms --encoding all --plot "+path)...)
	if status != settings.StatusDone {
		t.Fatalf("status %d: %s", status, stderr)
	}
	for _, want := range []string{"efficiency", "of bound", "dilation", "lenet5, 4 shards, links of 10 Gbit/s and 100µs one way; medians of 1 steps", "cpu: 1ms for the forward"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	picture, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cpu, f32", "bound", "Efficiency: lenet5, 10 Gbit/s"} {
		if !strings.Contains(string(picture), want) {
			t.Errorf("no %q in the picture", want)
		}
	}
}

func TestBenchScaleRefuses(t *testing.T) {
	for arguments, want := range map[string]string{
		"--compute a=1ms --workers 5":                    "--workers 5: 1 to 4 are allowed, the shards there are",
		"--compute a=1ms --workers 0":                    "--workers 0: 1 to 4 are allowed",
		"--compute a=1ms --shards 0":                     "--shards 0: at least 1 shard is needed",
		"--compute a=1ms --workers 1 --steps 0":          "--steps 0: 1 to 100 are allowed",
		"--compute a=1ms --workers 1 --bandwidth 10Gb":   "--bandwidth 10Gb: allowed are 1Mbit to 1000Gbit, as a number and kbit, Mbit or Gbit",
		"--compute a=1ms --workers 1 --bandwidth 0Gbit":  "--bandwidth 0Gbit: allowed are 1Mbit",
		"--compute a=1ms --workers 1 --bandwidth -1Gbit": "--bandwidth -1Gbit: allowed are 1Mbit",
		"--compute a=1ms --workers 1 --delay 11s":        "--delay 11s: 0s to 10s are allowed",
		"--compute 1ms --workers 1":                      "--compute 1ms: wanted is name=time, as 2cores=89ms, of at most 10s",
		"--compute a=0s --workers 1":                     "--compute a=0s: wanted is name=time",
		"--compute a=1ms,a=2ms --workers 1":              "--compute a=2ms: a is there already, names must differ",
		"--workers 1":                                    "--network lenet5: needed: --compute, since what it takes is known of alexnet alone",
		"--compute a=1ms --workers 1 --encoding fp8":     "--encoding fp8: all, alone, or of f32",
		"--compute a=1ms --workers 1 --plot x.gif":       "--plot \"x.gif\": the extension must be one of .png, .svg",
		"--compute a=1ms --workers 1 --network resnet":   "resnet",
	} {
		status, stdout, stderr := muster(t.Context(), benchScaleArguments(arguments)...)
		if status != settings.StatusUsage || stdout != "" || !strings.Contains(stderr, want) {
			t.Errorf("%s: status %d, %q, want status %d and %q", arguments, status, stderr, settings.StatusUsage, want)
		}
	}
}
