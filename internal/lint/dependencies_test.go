package lint

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEveryDependencyIsExplained compares docs/dependencies.md with the modules
// that are required directly and with the tools.
func TestEveryDependencyIsExplained(t *testing.T) {
	page := read(t, "../../docs/dependencies.md")
	trainer, tools, ok := strings.Cut(page, "\n## The tools")
	if !ok {
		t.Fatal("docs/dependencies.md has no section on the tools")
	}
	compare(t, "go.mod", direct(read(t, "../../go.mod")), rows(trainer))

	var want []string
	for _, path := range block(read(t, "../../tools/go.mod"), "tool") {
		want = append(want, path[strings.LastIndex(path, "/")+1:])
	}
	got := slices.DeleteFunc(rows(tools), func(name string) bool { return name == "avo" }) // a library
	compare(t, "tools/go.mod", want, got)
}

func TestRequirementsAreRead(t *testing.T) {
	const text = "module m\n\ngo 1.26\n\ntool (\n\texample.org/x/cmd/x\n)\n\n" +
		"require example.org/one v1.0.0\n\nrequire (\n\texample.org/a v1.0.0\n\texample.org/b v1.0.0 // indirect\n)\n"
	if got, want := direct(text), []string{"example.org/a", "example.org/one"}; !slices.Equal(got, want) {
		t.Errorf("direct requirements %q, want %q", got, want)
	}
	if got, want := block(text, "tool"), []string{"example.org/x/cmd/x"}; !slices.Equal(got, want) {
		t.Errorf("tools %q, want %q", got, want)
	}
	if got, want := rows("| module | what |\n| --- | --- |\n| `b`, `a` | `c` |\n\n`d`\n"), []string{"a", "b"}; !slices.Equal(got, want) {
		t.Errorf("rows %q, want %q", got, want)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// block returns the lines of a keyword of a go.mod, in parentheses or alone,
// without the keyword.
func block(gomod, keyword string) []string {
	var all []string
	inside := false
	for line := range strings.Lines(gomod) {
		line = strings.TrimSpace(line)
		one, alone := strings.CutPrefix(line, keyword+" ")
		switch {
		case line == keyword+" (":
			inside = true
		case line == ")":
			inside = false
		case inside && line != "":
			all = append(all, line)
		case alone:
			all = append(all, one)
		}
	}
	slices.Sort(all)
	return all
}

// direct returns the modules that a go.mod requires for the module itself.
func direct(gomod string) []string {
	var all []string
	for _, line := range block(gomod, "require") {
		if path, rest, _ := strings.Cut(line, " "); !strings.Contains(rest, "// indirect") {
			all = append(all, path)
		}
	}
	return all
}

var quoted = regexp.MustCompile("`([^`]+)`")

// rows returns what stands in back quotes in the first column of tables.
func rows(markdown string) []string {
	var all []string
	for line := range strings.Lines(markdown) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && cells[0] == "" {
			for _, m := range quoted.FindAllStringSubmatch(cells[1], -1) {
				all = append(all, m[1])
			}
		}
	}
	slices.Sort(all)
	return all
}

// compare fails on each module that only one side names.
func compare(t *testing.T, file string, required, explained []string) {
	t.Helper()
	for _, m := range required {
		if !slices.Contains(explained, m) {
			t.Errorf("%s has %s, and docs/dependencies.md doesn't say why", file, m)
		}
	}
	for _, m := range explained {
		if !slices.Contains(required, m) {
			t.Errorf("docs/dependencies.md explains %s, which is not a direct dependency in %s", m, file)
		}
	}
}
