package lint

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// file is one Go file of a tree.
type file struct {
	path      string // relative to the module
	name      string // of its package
	test      bool
	generated bool
	comment   string // before the package clause
	imports   []use
	calls     []use // qualified names such as math.Exp, of the packages asked for
}

// use is a mention of something, and the line it stands on.
type use struct {
	what string
	line int
}

// pkg is the files of one directory.
type pkg struct {
	path  string // relative to the module
	files []file
}

// readTree parses every Go file under root that the go command would take for
// some platform, by directory in lexical order. Nested modules are others'
// trees. watched is the import path whose qualified names are kept as calls.
func readTree(root fs.FS, watched string) ([]pkg, error) {
	var pkgs []pkg
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && skipped(root, p) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") || strings.HasPrefix(d.Name(), "_") || strings.HasPrefix(d.Name(), ".") {
			return nil
		}
		f, err := readFile(root, p, watched)
		if err != nil {
			return err
		}
		if f == nil {
			return nil
		}
		dir := path.Dir(p)
		if n := len(pkgs); n > 0 && pkgs[n-1].path == dir {
			pkgs[n-1].files = append(pkgs[n-1].files, *f)
			return nil
		}
		for i := range pkgs { // a directory's files go on after those of its subdirectories
			if pkgs[i].path == dir {
				pkgs[i].files = append(pkgs[i].files, *f)
				return nil
			}
		}
		pkgs = append(pkgs, pkg{path: dir, files: []file{*f}})
		return nil
	})
	return pkgs, err
}

// skipped says whether the go command leaves a directory out of "./...".
func skipped(root fs.FS, dir string) bool {
	name := path.Base(dir)
	if name == "testdata" || name == "vendor" || strings.HasPrefix(name, "_") || strings.HasPrefix(name, ".") {
		return true
	}
	_, err := fs.Stat(root, path.Join(dir, "go.mod"))
	return err == nil
}

// readFile parses one file; nil for one that no build takes.
func readFile(root fs.FS, p, watched string) (*file, error) {
	text, err := fs.ReadFile(root, p)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	tree, err := parser.ParseFile(fset, p, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return nil, fmt.Errorf("parse: %w", err)
	}
	if ignored(tree) {
		return nil, nil
	}
	f := &file{path: p, name: tree.Name.Name, test: strings.HasSuffix(p, "_test.go"), generated: ast.IsGenerated(tree), comment: tree.Doc.Text()}
	local := "" // the name that watched goes by in this file
	for _, spec := range tree.Imports {
		what, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: import %s: %w", p, spec.Path.Value, err)
		}
		f.imports = append(f.imports, use{what, fset.Position(spec.Pos()).Line})
		if what == watched {
			local = path.Base(what)
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local != "" {
		ast.Inspect(tree, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
					f.calls = append(f.calls, use{sel.Sel.Name, fset.Position(sel.Pos()).Line})
				}
			}
			return true
		})
	}
	return f, nil
}

// ignored reports a "//go:build ignore" above the package clause.
func ignored(tree *ast.File) bool {
	for _, group := range tree.Comments {
		if group.Pos() > tree.Package {
			break
		}
		for _, c := range group.List {
			if expr, err := constraint.Parse(c.Text); err == nil && expr.String() == "ignore" {
				return true
			}
		}
	}
	return false
}
