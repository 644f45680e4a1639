package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/model"
)

func TestThousands(t *testing.T) {
	for _, tc := range []struct {
		n    int
		want string
	}{
		{0, "0"}, {7, "7"}, {999, "999"}, {1000, "1,000"}, {62006, "62,006"}, {999999, "999,999"}, {1000000, "1,000,000"}, {21598922, "21,598,922"},
	} {
		if got := thousands(tc.n); got != tc.want {
			t.Errorf("thousands(%d) = %q, want %q", tc.n, got, tc.want)
		}
	}
}

func TestNetworksListsAll(t *testing.T) {
	status, stdout, _ := muster(t.Context(), "networks")
	if status != settings.StatusDone {
		t.Fatalf("status %d", status)
	}
	lines := strings.Split(stdout, "\n")
	for i, name := range model.Names() {
		net, err := model.New(name, model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		// The header is the first line.
		if f := strings.Fields(lines[i+1]); len(f) != 5 || f[0] != name || f[1] != thousands(net.Layout.Size()) || f[4] != shape(net.Input) {
			t.Errorf("line %d is %q, want %s", i+2, lines[i+1], name)
		}
	}
	if want := len(model.Names()) + 4; len(lines) != want { // header, blank, note, end
		t.Errorf("%d lines, want %d:\n%s", len(lines), want, stdout)
	}
}

func TestNetworksAsJSON(t *testing.T) {
	_, stdout, _ := muster(t.Context(), "networks", "--json")
	d := json.NewDecoder(strings.NewReader(stdout))
	for _, name := range model.Names() {
		net, err := model.New(name, model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var line struct {
			Name       string
			Parameters int
			FLOPs      int64
			Needed     int64 `json:"flops_needed"`
			Input      []int
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if line.Name != name || line.Parameters != net.Layout.Size() || line.Needed <= 0 || line.FLOPs < line.Needed || len(line.Input) != 3 || line.Input[1] != net.Input.H {
			t.Errorf("%s is printed as %+v", name, line)
		}
	}
	if d.More() {
		t.Error("more lines than networks")
	}
}

func TestNetworkShowsItsLayers(t *testing.T) {
	status, stdout, _ := muster(t.Context(), "networks", "lenet5")
	if status != settings.StatusDone {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{"lenet5: ", "input 3x32x32, 10 classes", "conv1", "6x28x28", "total"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("lacks %q:\n%s", want, stdout)
		}
	}
	_, lines, _ := muster(t.Context(), "networks", "lenet5", "--classes", "20", "--json")
	d := json.NewDecoder(strings.NewReader(lines))
	sum, last := 0, []int(nil)
	for d.More() {
		var line struct {
			Parameters int
			Output     []int
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		sum, last = sum+line.Parameters, line.Output
	}
	net, err := model.New("lenet5", model.Options{Classes: 20})
	if err != nil {
		t.Fatal(err)
	}
	if sum != net.Layout.Size() || len(last) != 3 || last[0] != 20 {
		t.Errorf("layers have %d parameters and end in %v, want %d and 20 outputs", sum, last, net.Layout.Size())
	}
}

func TestNetworksRefuses(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"lenet6", "did you mean lenet5?"},
		{"lenet5 alexnet", "at most 1"},
		{"lenet5 --activation gelu", "gelu"},
		{"lenet5 --classes 1", "classes 1"},
		{"--classes 20", "need the name of a network"},
	} {
		status, stdout, stderr := muster(t.Context(), append([]string{"networks"}, strings.Fields(tc.args)...)...)
		if status != settings.StatusUsage || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("networks %s: status %d, %q; want %q", tc.args, status, stderr, tc.want)
		}
	}
}

func TestDataAreDescribedAndVerified(t *testing.T) {
	dir := images(t, 0)
	status, stdout, _ := muster(t.Context(), "data", "info", "--data", dir)
	if status != settings.StatusDone || !strings.HasPrefix(stdout, "cifar10: 18 training and 150 test images\n") || strings.Count(stdout, "\n") != 12 {
		t.Errorf("data info: status %d\n%s", status, stdout)
	}
	_, stdout, _ = muster(t.Context(), "data", "info", "--data", dir, "--json")
	d := json.NewDecoder(strings.NewReader(stdout))
	train, test := 0, 0
	for d.More() {
		var line struct {
			Class       string
			Train, Test int
		}
		if err := d.Decode(&line); err != nil {
			t.Fatal(err)
		}
		train, test = train+line.Train, test+line.Test
	}
	if train != 18 || test != 150 {
		t.Errorf("classes add up to %d and %d images, want 18 and 150", train, test)
	}
	status, stdout, _ = muster(t.Context(), "data", "verify", "--data", dir)
	if status != settings.StatusDone || !strings.Contains(stdout, "18 training and 150 test records are whole, fingerprint sha256:") {
		t.Errorf("data verify: status %d, %q", status, stdout)
	}
	if status, stdout, stderr := muster(t.Context(), "data", "verify", "--data", "nowhere"); status != settings.StatusUsage || stdout != "" || !oneLine(stderr) {
		t.Errorf("data verify of none: status %d, %q, %q", status, stdout, stderr)
	}
}

func TestProgramItself(t *testing.T) {
	for _, args := range []string{"--version", "--help", "train --help", "networks --help", "data"} {
		if status, stdout, _ := muster(t.Context(), strings.Fields(args)...); status != settings.StatusDone || stdout == "" {
			t.Errorf("muster %s: status %d, %d bytes", args, status, len(stdout))
		}
	}
	var errs bytes.Buffer
	cmd := root()
	cmd.SetErr(&errs)
	cmd.SetArgs([]string{"trian"})
	if status := settings.Main(t.Context(), cmd); status != settings.StatusUsage || !strings.Contains(errs.String(), "did you mean train?") {
		t.Errorf("muster trian: status %d, %q", status, errs.String())
	}
}
