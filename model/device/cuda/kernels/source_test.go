package kernels

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/internal/ptx"
)

func TestThePTXIsThatOfTheSources(t *testing.T) {
	headers, err := filepath.Glob("*.cuh")
	if err != nil || len(headers) == 0 {
		t.Fatalf("headers %v, %v", headers, err)
	}
	var header []byte
	for _, name := range headers {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		header = append(header, text...)
	}
	sources, err := filepath.Glob("*.cu")
	if err != nil || len(sources) != len(Names()) {
		t.Fatalf("sources %v, %v; want those of %v", sources, err, Names())
	}
	for _, source := range sources {
		name := strings.TrimSuffix(source, ".cu")
		if !slices.Contains(Names(), name) {
			t.Errorf("%s is none of %v", source, Names())
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		made, err := PTX(name)
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("// sources sha256:%x\n", sha256.Sum256(append(slices.Clone(header), text...)))
		if !strings.Contains(made, want) {
			t.Errorf("%s.ptx was not made of %s and the headers as they are: run build.sh", name, source)
		}
	}
	if _, err := PTX("nothing"); err == nil {
		t.Error("a file that isn't there has a text")
	}
}

// What is loaded by old drivers must not ask for newer ones.
func TestThePTXIsForEveryDriver(t *testing.T) {
	for _, name := range Names() {
		text, err := PTX(name)
		if err != nil {
			t.Fatal(err)
		}
		m, err := ptx.Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if m.Version != "7.0" || m.Target != "sm_80" || len(m.Kernels) == 0 {
			t.Errorf("%s: PTX %s for %s, with %d kernels; want 7.0 for sm_80", name, m.Version, m.Target, len(m.Kernels))
		}
		if strings.Contains(text, "\tatom.") || strings.Contains(text, "\tred.") {
			t.Errorf("%s has atomics: sums would have the order in which threads come", name)
		}
	}
}
