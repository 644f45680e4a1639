package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/model/safetensors"
	"github.com/muster-train/muster/model/topology"
)

func TestExportHoldsTheParametersAndWhatTheyAre(t *testing.T) {
	dir, _ := trainedJob(t)
	state := newest(t, dir)
	out := filepath.Join(t.TempDir(), "net.safetensors")
	status, stdout, stderr := muster(t.Context(), "export", "--checkpoint", dir, "-o", out)
	if status != settings.StatusDone || stdout != out+": lenet5 of step 6, 10 tensors, 62006 values\n" {
		t.Fatalf("status %d, %q, %q", status, stdout, stderr)
	}
	file, err := safetensors.Read(out)
	if err != nil {
		t.Fatal(err)
	}
	about, err := topology.Parse([]byte(file.Metadata["topology"]))
	if err != nil {
		t.Fatal(err)
	}
	net, err := topology.Build(about)
	if err != nil {
		t.Fatal(err)
	}
	values, err := file.Vector(net.Layout)
	if err != nil || !slices.Equal(values, state.Parameters) {
		t.Errorf("%v; %d values differ from the checkpoint's %d", err, len(values), len(state.Parameters))
	}
	for key, want := range map[string]string{"format": "pt", "network": "lenet5", "step": "6", "synthetic": "false", "parameters_sha256": params.Hash(state.Parameters)} {
		if got := file.Metadata[key]; got != want {
			t.Errorf("metadata %s is %q, want %q", key, got, want)
		}
	}
	if file.Metadata["test_top1"] == "" {
		t.Error("no test accuracy, although the step has been evaluated")
	}

	// To standard output: the same bytes and nothing else.
	_, stdout, _ = muster(t.Context(), "export", "--checkpoint", dir, "-o", "-")
	if content, err := os.ReadFile(out); err != nil || stdout != string(content) {
		t.Errorf("%v; standard output has %d bytes, the file %d", err, len(stdout), len(content))
	}
}

func TestExportNamesFilesByItself(t *testing.T) {
	dir, _ := trainedJob(t)
	t.Chdir(t.TempDir())
	for format, name := range map[string]string{"safetensors": "lenet5.safetensors", "topology": "topology.json"} {
		if status, _, stderr := muster(t.Context(), "export", "--checkpoint", dir, "--format", format); status != settings.StatusDone {
			t.Errorf("%s: status %d, %s", format, status, stderr)
		}
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	exported, err := os.ReadFile("topology.json")
	if err != nil {
		t.Fatal(err)
	}
	if written, err := os.ReadFile(filepath.Join(dir, "topology.json")); err != nil || !bytes.Equal(exported, written) {
		t.Errorf("%v; the topology exported is not the one that training wrote", err)
	}
}

func TestExportRefusesWrongUse(t *testing.T) {
	dir, data := trainedJob(t)
	other := filepath.Join(folder(t), "other")
	if status, _, stderr := muster(t.Context(), append(job(other, data), "--network", "simple-cnn")...); status != settings.StatusDone {
		t.Fatalf("training: %d, %s", status, stderr)
	}
	// A topology that is not of the checkpoint beside it.
	for _, name := range []string{"topology.pb", "topology.json"} {
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(other, name)); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "x")
	for _, tc := range []struct {
		want string
		args []string
	}{
		{"layout", []string{"--checkpoint", other, "-o", out}},
		{"topology.pb or topology.json is not beside", []string{"--checkpoint", dir, "-o", out}},
		{"its directory is not there", []string{"--checkpoint", dir, "-o", "nowhere/x"}},
		{"allowed are safetensors, topology", []string{"--format", "onnx"}},
		{"muster train makes one", []string{"--checkpoint", "nowhere"}},
	} {
		status, stdout, stderr := muster(t.Context(), append([]string{"export"}, tc.args...)...)
		if status != settings.StatusUsage || stdout != "" || !strings.Contains(stderr, tc.want) {
			t.Errorf("%q: status %d, %q; want %q", tc.args, status, stderr, tc.want)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("something was written")
	}
}

// TestExportWritesToPipesAndThroughLinks: what is no plain file is not replaced.
func TestExportWritesToPipesAndThroughLinks(t *testing.T) {
	dir, _ := trainedJob(t)
	_, want, _ := muster(t.Context(), "export", "--checkpoint", dir, "-o", "-")
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Skipf("no named pipes here: %v", err)
	}
	read := make(chan string, 1)
	go func() {
		content, err := os.ReadFile(pipe)
		if err != nil {
			t.Error(err)
		}
		read <- string(content)
	}()
	if status, _, stderr := muster(t.Context(), "export", "--checkpoint", dir, "-o", pipe); status != settings.StatusDone {
		t.Fatalf("to a pipe: status %d, %s", status, stderr)
	}
	if got := <-read; got != want {
		t.Errorf("%d bytes came through the pipe, want %d", len(got), len(want))
	}

	target, link := filepath.Join(t.TempDir(), "target"), filepath.Join(t.TempDir(), "link")
	if err := os.WriteFile(target, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := muster(t.Context(), "export", "--checkpoint", dir, "-o", link); status != settings.StatusDone {
		t.Fatalf("through a link: status %d, %s", status, stderr)
	}
	if got, err := os.ReadFile(target); err != nil || string(got) != want {
		t.Errorf("what the link leads to has %d bytes, %v; want %d", len(got), err, len(want))
	}
	status, _, stderr := muster(t.Context(), "export", "--checkpoint", dir, "-o", t.TempDir())
	if status != settings.StatusUsage || !strings.Contains(stderr, "that is a directory") {
		t.Errorf("to a directory: status %d, %q", status, stderr)
	}
}
