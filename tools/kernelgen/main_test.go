package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The files in internal/kernel are what the generator writes today, but for
// the first line, which holds the command.
func TestCommittedFilesAreCurrent(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the generator")
	}
	dir := t.TempDir()
	for set := range sets {
		s, stubs := filepath.Join(dir, set+"_amd64.s"), filepath.Join(dir, set+"_amd64.go")
		out, err := exec.Command("go", "run", ".", "-set", set, "-out", s, "-stubs", stubs, "-pkg", "kernel").CombinedOutput()
		if err != nil {
			t.Fatalf("kernelgen: %v\n%s", err, out)
		}
		for _, written := range []string{s, stubs} {
			name := filepath.Base(written)
			want, got := body(t, written), body(t, filepath.Join("..", "..", "internal", "kernel", name))
			if !bytes.Equal(got, want) {
				t.Errorf("internal/kernel/%s is not what kernelgen writes: run go generate ./internal/kernel", name)
			}
		}
	}
}

func body(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(data, []byte("\n"))
	return rest
}

func TestUnknownSetIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the generator")
	}
	out, err := exec.Command("go", "run", ".", "-set", "sse2").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `"sse2" is unknown (allowed: avx2, avx512)`) {
		t.Errorf("kernelgen -set sse2: %v, output %q; want a refusal that names sse2 and what is allowed", err, out)
	}
}
