package lint

import (
	"os"
	"strings"
	"testing"
)

// TestProjectKeepsItsLayers is the check of this very project.
func TestProjectKeepsItsLayers(t *testing.T) {
	root := os.DirFS("../..")
	module := moduleName(t, "../../go.mod")
	problems, err := Check(root, module, Project)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

func moduleName(t *testing.T, gomod string) string {
	t.Helper()
	text, err := os.ReadFile(gomod)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "module "); ok {
			return strings.TrimSpace(name)
		}
	}
	t.Fatalf("%s has no module line", gomod)
	return ""
}
