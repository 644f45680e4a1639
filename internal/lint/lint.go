package lint

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
)

// Problem is one thing to mend: where it stands, and what and why.
type Problem struct {
	File string // relative to the module; a directory where no line is at fault
	Line int    // 0: none
	Text string
}

// String is the problem as compilers print theirs.
func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Text
	}
	return fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Text)
}

// checker is one check of one tree.
type checker struct {
	module   string
	rules    Rules
	pkgs     []pkg
	problems []Problem
}

// Check holds the tree under root, which is the module of that name, to rules.
// It returns what is wrong, by file and line.
func Check(root fs.FS, module string, rules Rules) ([]Problem, error) {
	pkgs, err := readTree(root, rules.Exact.Import)
	if err != nil {
		return nil, err
	}
	c := &checker{module: module, rules: rules, pkgs: pkgs}
	c.checkRules()
	for _, p := range pkgs {
		c.checkPackage(p)
		for _, f := range p.files {
			c.checkFile(p, f)
		}
	}
	c.checkLinked()
	sort.SliceStable(c.problems, func(i, j int) bool {
		a, b := c.problems[i], c.problems[j]
		if a.File != b.File {
			return a.File < b.File
		}
		return a.Line < b.Line
	})
	return c.problems, nil
}

func (c *checker) report(file string, line int, format string, args ...any) {
	c.problems = append(c.problems, Problem{file, line, fmt.Sprintf(format, args...)})
}

// checkRules makes sure that the list itself points one way.
func (c *checker) checkRules() {
	var above []string
	for _, r := range c.rules.Packages {
		for _, to := range r.May {
			if !slices.Contains(above, to) {
				c.report("rules", 0, "%s may import %s, which is not listed above it: imports point one way", r.Path, to)
			}
		}
		above = append(above, r.Path)
	}
}

// checkPackage checks name and comment.
func (c *checker) checkPackage(p pkg) {
	commented, written := false, false
	for _, f := range p.files {
		name := f.name
		if f.test {
			name = strings.TrimSuffix(name, "_test")
		}
		for _, bad := range []string{name, path.Base(p.path)} {
			if slices.Contains(c.rules.BadNames, bad) {
				c.report(f.path, 0, "package %q: the name says nothing; name the one job it does", bad)
				break
			}
		}
		want := "Package " + f.name + " "
		if f.name == "main" {
			want = "Command "
		}
		if strings.HasPrefix(f.comment, want) {
			commented = true
		}
		if !f.generated {
			written = true
		}
	}
	if written && !commented {
		c.report(p.path, 0, "no package comment: doc.go says what it does, its invariants and its goroutines, beginning %q", "Package "+p.files[0].name)
	}
}

// checkFile checks the imports and calls of one file.
func (c *checker) checkFile(p pkg, f file) {
	for _, u := range f.imports {
		if to, ok := c.own(u.what); ok {
			if why := c.refusal(p.path, f, to); why != "" {
				c.report(f.path, u.line, "%s must not import %s: %s", p.path, to, why)
			}
			continue
		}
		for _, r := range c.rules.Foreign {
			if !under(u.what, r.Import+"/...") || f.test && r.Tests || allowedFile(f.path, r.Only) {
				continue
			}
			c.report(f.path, u.line, "must not import %s: %s", u.what, r.Why)
			break
		}
	}
	if e := c.rules.Exact; !f.test && matches(p.path, e.Under) && !matches(p.path, e.Except) {
		for _, u := range f.calls {
			if slices.Contains(e.Funcs, u.what) {
				c.report(f.path, u.line, "must not use %s.%s: %s", e.Import, u.what, e.Why)
			}
		}
	}
}

// own returns the module-relative path of an import of the project.
func (c *checker) own(what string) (string, bool) {
	if what == c.module {
		return ".", true
	}
	return strings.CutPrefix(what, c.module+"/")
}

// refusal says why a file of from must not import to; "" if it may.
func (c *checker) refusal(from string, f file, to string) string {
	if f.test && to == from { // an external test of its own package
		return ""
	}
	for _, r := range c.rules.Packages {
		if r.Path != from {
			continue
		}
		if slices.Contains(r.May, to) || f.test && (slices.Contains(r.Tests, to) || slices.Contains(c.rules.Tests, to)) {
			return ""
		}
		for _, d := range c.rules.Denied {
			if d.From == from && under(to, d.To) {
				return d.Why
			}
		}
		return r.Why
	}
	for _, t := range c.rules.Trees {
		if !under(from, t.Under+"/...") {
			continue
		}
		if matches(to, t.Except) {
			return t.Why
		}
		return ""
	}
	return "the package is not listed in internal/lint/rules.go; say there what it may import and why no more"
}

// checkLinked follows imports from the programs.
func (c *checker) checkLinked() {
	edges := map[string][]string{}
	main := map[string]bool{}
	for _, p := range c.pkgs {
		for _, f := range p.files {
			if f.test {
				continue
			}
			main[p.path] = main[p.path] || f.name == "main"
			for _, u := range f.imports {
				if to, ok := c.own(u.what); ok {
					edges[p.path] = append(edges[p.path], to)
				}
			}
		}
	}
	for _, l := range c.rules.Linked {
		for _, p := range c.pkgs {
			if slices.Contains(l.Programs, p.path) || !main[p.path] && !slices.Contains(l.Never, p.path) {
				continue
			}
			if way := route(edges, p.path, l.Package); way != nil {
				c.report(p.path, 0, "must not link %s (by way of %s): %s", l.Package, strings.Join(way, " -> "), l.Why)
			}
		}
	}
}

// route returns a shortest chain of imports from one package to another, both
// included, or nil.
func route(edges map[string][]string, from, to string) []string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if at == to && at != from {
			var way []string
			for ; at != ""; at = before[at] {
				way = append([]string{at}, way...)
			}
			return way
		}
		for _, next := range edges[at] {
			if _, seen := before[next]; !seen {
				before[next] = at
				queue = append(queue, next)
			}
		}
	}
	return nil
}

// under reports whether p is pattern, or under it where it ends in "/...".
func under(p, pattern string) bool {
	if dir, ok := strings.CutSuffix(pattern, "/..."); ok {
		return p == dir || strings.HasPrefix(p, dir+"/")
	}
	return p == pattern
}

func matches(p string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return under(p, pattern) })
}

// allowedFile reports whether a file, or its directory, is among the allowed.
func allowedFile(f string, only []string) bool {
	return slices.Contains(only, f) || matches(path.Dir(f), only)
}
