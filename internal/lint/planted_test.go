package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// source is a Go file of a package with these imports; each package gets its
// comment from its doc.go.
func source(name string, imports ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "package %s\n", name)
	for _, i := range imports {
		if path, ok := strings.CutPrefix(i, "./"); ok {
			i = "example.org/m/" + path
		}
		fmt.Fprintf(&b, "import _ %q\n", i)
	}
	return b.String()
}

// plant builds a tree from path and text; every package without a doc.go gets one.
func plant(files map[string]string) fstest.MapFS {
	tree := fstest.MapFS{}
	for p, text := range files {
		tree[p] = &fstest.MapFile{Data: []byte(text)}
		dir, _ := splitLast(p)
		name := strings.TrimSuffix(strings.Fields(text[strings.LastIndex("\n"+text, "\npackage "):])[1], "_test")
		doc := dir + "/doc.go"
		if _, ok := files[doc]; !ok && tree[doc] == nil {
			comment := "Package " + name + " is planted."
			if name == "main" {
				comment = "Command planted."
			}
			tree[doc] = &fstest.MapFile{Data: []byte("// " + comment + "\npackage " + name + "\n")}
		}
	}
	return tree
}

func splitLast(p string) (dir, name string) {
	i := strings.LastIndex(p, "/")
	return p[:i], p[i+1:]
}

// check returns the problems of the planted tree under the project's own rules.
func check(t *testing.T, files map[string]string) []string {
	t.Helper()
	problems, err := Check(plant(files), "example.org/m", Project)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.String())
	}
	return got
}

func TestImportsAgainstTheLayersAreRefusedWithTheReason(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string // the beginning of the only problem, "" for none
	}{
		{"downward", map[string]string{"worker/worker.go": source("worker", "./internal/wire", "./model")}, ""},
		{"worker to paramserver", map[string]string{"worker/worker.go": source("worker", "./paramserver")}, "worker/worker.go:2: worker must not import paramserver: a worker knows its server by protocol alone"},
		{"worker to checkpoint", map[string]string{"worker/worker.go": source("worker", "./paramserver/checkpoint")}, "worker/worker.go:2: worker must not import paramserver/checkpoint: a worker knows its server by protocol alone"},
		{"paramserver to worker", map[string]string{"paramserver/a.go": source("paramserver", "./worker")}, "paramserver/a.go:2: paramserver must not import worker: a server knows its workers by protocol alone"},
		{"upward", map[string]string{"model/params/a.go": source("params", "./model")}, "model/params/a.go:2: model/params must not import model: "},
		{"ground to ground", map[string]string{"dataset/a.go": source("dataset", "./internal/telemetry")}, "dataset/a.go:2: dataset must not import internal/telemetry: "},
		{"wire to layouts", map[string]string{"internal/wire/a.go": source("wire", "./model/params")}, "internal/wire/a.go:2: internal/wire must not import model/params: the wire carries ranges of float32"},
		{"network to a device", map[string]string{"model/a.go": source("model", "./model/device/cpu")}, "model/a.go:2: model must not import model/device/cpu: a network that knew a device"},
		{"network to a device in a test", map[string]string{"model/a_test.go": source("model_test", "./model", "./model/device/cpu")}, ""},
		{"a test reaches no further", map[string]string{"model/a_test.go": source("model", "./worker")}, "model/a_test.go:2: model must not import worker: "},
		{"every test may draw", map[string]string{"internal/telemetry/a_test.go": source("telemetry", "./internal/philox")}, ""},
		{"program to anything", map[string]string{"cmd/muster/main.go": source("main", "./worker", "./paramserver", "./cmd/internal/settings")}, ""},
		{"program to the suite", map[string]string{"cmd/muster/main.go": source("main", "./model/device/devicetest")}, "cmd/muster/main.go:2: cmd/muster must not import model/device/devicetest: "},
		{"program to the whole-system tests", map[string]string{"cmd/muster/main.go": source("main", "./internal/e2e/chaos")}, "cmd/muster/main.go:2: cmd/muster must not import internal/e2e/chaos: "},
		{"a package that is not listed", map[string]string{"fresh/a.go": source("fresh", "./dataset")}, "fresh/a.go:2: fresh must not import dataset: the package is not listed in internal/lint/rules.go"},
		{"the module's root", map[string]string{"dataset/a.go": source("dataset", "example.org/m")}, "dataset/a.go:2: dataset must not import .: "},
		{"another module of like name", map[string]string{"dataset/a.go": source("dataset", "example.org/module/x")}, ""},
		{"other platforms' files count", map[string]string{"worker/a_plan9.go": "//go:build plan9\n\n" + source("worker", "./paramserver")}, "worker/a_plan9.go:4: worker must not import paramserver: "},
		{"files of no build don't", map[string]string{"worker/gen.go": "//go:build ignore\n\n" + source("main", "./paramserver")}, ""},
	} {
		one(t, tc.name, check(t, tc.files), tc.want)
	}
}

func TestForeignPackagesStayWhereTheyBelong(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"gRPC in the client", map[string]string{"worker/client.go": source("worker", "google.golang.org/grpc")}, ""},
		{"gRPC in the loop", map[string]string{"worker/worker.go": source("worker", "google.golang.org/grpc/codes")}, "worker/worker.go:2: must not import google.golang.org/grpc/codes: in worker one file speaks gRPC, in paramserver one with workers and one with other servers"},
		{"gRPC in the service", map[string]string{"paramserver/service.go": source("paramserver", "google.golang.org/grpc")}, ""},
		{"gRPC in a round", map[string]string{"paramserver/round.go": source("paramserver", "google.golang.org/grpc")}, "paramserver/round.go:2: must not import google.golang.org/grpc: "},
		{"gRPC in a test", map[string]string{"paramserver/round_test.go": source("paramserver", "google.golang.org/grpc")}, ""},
		{"gRPC in the codec", map[string]string{"internal/wire/codec.go": source("wire", "google.golang.org/grpc/mem")}, ""},
		{"gRPC on the wire", map[string]string{"internal/wire/a.go": source("wire", "google.golang.org/grpc/mem")}, "internal/wire/a.go:2: must not import google.golang.org/grpc/mem: "},
		{"not gRPC", map[string]string{"internal/wire/a.go": source("wire", "google.golang.org/grpcish")}, ""},
		{"the driver in its device", map[string]string{"model/device/cuda/driver/a.go": source("driver", "github.com/ebitengine/purego")}, ""},
		{"the driver elsewhere", map[string]string{"cmd/worker/a.go": source("main", "github.com/ebitengine/purego")}, "cmd/worker/a.go:2: must not import github.com/ebitengine/purego: "},
		{"an etcd server embedded", map[string]string{"internal/membership/embedded/a.go": source("embedded", "go.etcd.io/etcd/server/v3/embed")}, ""},
		{"an etcd server in membership", map[string]string{"internal/membership/a.go": source("membership", "go.etcd.io/etcd/server/v3/embed")}, "internal/membership/a.go:2: must not import go.etcd.io/etcd/server/v3/embed: "},
		{"an etcd client in a worker", map[string]string{"worker/a.go": source("worker", "go.etcd.io/etcd/client/v3")}, "worker/a.go:2: must not import go.etcd.io/etcd/client/v3: "},
		{"flags below programs", map[string]string{"dataset/a.go": source("dataset", "github.com/spf13/pflag")}, "dataset/a.go:2: must not import github.com/spf13/pflag: only programs read flags"},
		{"platform randomness", map[string]string{"dataset/a.go": source("dataset", "math/rand/v2")}, "dataset/a.go:2: must not import math/rand/v2: "},
		{"platform randomness in a test", map[string]string{"dataset/a_test.go": source("dataset", "math/rand/v2")}, ""},
		{"an etcd client in a program", map[string]string{"cmd/internal/serve/a.go": source("serve", "go.etcd.io/etcd/client/v3")}, ""},
		{"a random pause of a worker", map[string]string{"worker/a.go": source("worker", "math/rand/v2")}, ""},
		{"cgo", map[string]string{"internal/kernel/a.go": source("kernel", "C")}, "internal/kernel/a.go:2: must not import C: "},
	} {
		one(t, tc.name, check(t, tc.files), tc.want)
	}
}

func TestLinksByWayOfOthersAreFound(t *testing.T) {
	job := map[string]string{
		"internal/membership/embedded/a.go": source("embedded", "./internal/membership"),
		"internal/membership/a.go":          source("membership"),
		"cmd/internal/job/a.go":             source("job", "./internal/membership/embedded"),
		"cmd/paramserver/main.go":           source("main", "./cmd/internal/job"),
		"cmd/muster/main.go":                source("main", "./cmd/internal/job"),
		"cmd/worker/main.go":                source("main", "./internal/membership"),
	}
	if got := check(t, job); len(got) != 0 {
		t.Errorf("a tree as it should be: %q", got)
	}
	job["cmd/worker/main.go"] = source("main", "./cmd/internal/job")
	one(t, "the worker's program", check(t, job),
		"cmd/worker: must not link internal/membership/embedded (by way of cmd/worker -> cmd/internal/job -> internal/membership/embedded): only the programs that own a job")

	job["cmd/worker/main.go"] = source("main")
	job["cmd/worker/main_test.go"] = source("main", "./cmd/internal/job")
	if got := check(t, job); len(got) != 0 {
		t.Errorf("a test links nothing into the program: %q", got)
	}
	one(t, "the server's program and the GPU", check(t, map[string]string{
		"model/device/cuda/a.go":  source("cuda"),
		"cmd/internal/dev/a.go":   source("dev", "./model/device/cuda"),
		"cmd/paramserver/main.go": source("main", "./cmd/internal/dev"),
	}), "cmd/paramserver: must not link model/device/cuda (by way of cmd/paramserver -> cmd/internal/dev -> model/device/cuda): ")
}

func TestPlatformMathIsRefusedWhereBitsArePromised(t *testing.T) {
	text := func(pkg, spec, call string) string {
		return "package " + pkg + "\n\nimport " + spec + "\n\nvar x = " + call + "\n"
	}
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"in a kernel", map[string]string{"internal/kernel/a.go": text("kernel", `"math"`, "math.Exp(1)")}, "internal/kernel/a.go:5: must not use math.Exp: platforms round it differently"},
		{"under another name", map[string]string{"model/device/cpu/a.go": text("cpu", `m "math"`, "m.Pow(1, 2)")}, "model/device/cpu/a.go:5: must not use math.Pow: "},
		{"as a value", map[string]string{"paramserver/optim/a.go": text("optim", `"math"`, "math.Cos")}, "paramserver/optim/a.go:5: must not use math.Cos: "},
		{"exact functions", map[string]string{"dataset/a.go": text("dataset", `"math"`, "math.Sqrt(math.Abs(math.Floor(2)))")}, ""},
		{"in a test", map[string]string{"internal/kernel/a_test.go": text("kernel", `"math"`, "math.Exp(1)")}, ""},
		{"where no bits are promised", map[string]string{"internal/telemetry/a.go": text("telemetry", `"math"`, "math.Log(1)")}, ""},
		{"in a reference for tests", map[string]string{"model/device/devicetest/a.go": text("devicetest", `"math"`, "math.Exp(1)")}, ""},
		{"of another package", map[string]string{"model/a.go": text("model", `math "example.org/m/internal/kernel"`, "math.Exp(1)")}, ""},
	} {
		one(t, tc.name, check(t, tc.files), tc.want)
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	for _, tc := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{"a comment in any file", map[string]string{"dataset/doc.go": "package dataset\n", "dataset/a.go": "// Package dataset reads images.\npackage dataset\n"}, ""},
		{"no comment", map[string]string{"dataset/doc.go": "package dataset\n"}, `dataset: no package comment: doc.go says what it does, its invariants and its goroutines, beginning "Package dataset"`},
		{"a comment on something else", map[string]string{"dataset/doc.go": "// Copyright of someone.\n\npackage dataset\n"}, "dataset: no package comment: "},
		{"a comment on another package", map[string]string{"dataset/doc.go": "// Package datasets reads images.\npackage dataset\n"}, "dataset: no package comment: "},
		{"a program", map[string]string{"cmd/worker/doc.go": "// Command worker computes gradients.\npackage main\n"}, ""},
		{"a program without", map[string]string{"cmd/worker/doc.go": "package main\n"}, "cmd/worker: no package comment: "},
		{"generated code only", map[string]string{"proto/muster/v1/doc.go": "// Code generated by x. DO NOT EDIT.\n\npackage musterv1\n"}, ""},
		{"tests only, with a comment", map[string]string{"internal/e2e/doc.go": "// Package e2e runs whole jobs.\npackage e2e\n", "internal/e2e/a_test.go": "package e2e_test\n"}, ""},
	} {
		one(t, tc.name, check(t, tc.files), tc.want)
	}
}

func TestNamesThatSayNothingAreRefused(t *testing.T) {
	for _, name := range []string{"util", "common", "base", "helpers"} {
		one(t, name, check(t, map[string]string{"cmd/internal/" + name + "/doc.go": "// Package " + name + " holds things.\npackage " + name + "\n"}),
			fmt.Sprintf("cmd/internal/%s/doc.go:", name))
	}
	one(t, "a folder of that name", check(t, map[string]string{"cmd/internal/util/doc.go": "// Package maths adds.\npackage maths\n"}),
		`cmd/internal/util/doc.go: package "util": the name says nothing`)
	one(t, "a name that holds one", check(t, map[string]string{"cmd/internal/baseline/doc.go": "// Package baseline compares.\npackage baseline\n"}), "")
}

func TestOthersTreesAreLeftAlone(t *testing.T) {
	bad := "package util\nimport _ \"example.org/m/worker\"\n"
	tree := fstest.MapFS{
		"tools/go.mod":                 {Data: []byte("module example.org/m/tools\n")},
		"tools/gen/a.go":               {Data: []byte(bad)},
		"dataset/testdata/a.go":        {Data: []byte("this is no Go")},
		"dataset/_old/a.go":            {Data: []byte(bad)},
		".cache/a.go":                  {Data: []byte(bad)},
		"dataset/_a.go":                {Data: []byte(bad)},
		"dataset/notes.txt":            {Data: []byte(bad)},
		"vendor/example.org/x/util.go": {Data: []byte(bad)},
	}
	problems, err := Check(tree, "example.org/m", Project)
	if err != nil || len(problems) != 0 {
		t.Errorf("problems %v, error %v", problems, err)
	}
}

func TestAFileThatDoesNotParseIsAnError(t *testing.T) {
	_, err := Check(fstest.MapFS{"dataset/a.go": {Data: []byte("package")}}, "example.org/m", Project)
	if err == nil || !strings.Contains(err.Error(), "dataset/a.go") {
		t.Errorf("error %v, want one that names the file", err)
	}
}

func TestTheListPointsOneWay(t *testing.T) {
	rules := Rules{Packages: []Package{
		{Path: "low", May: []string{"high"}},
		{Path: "high", May: []string{"low", "unknown"}},
	}}
	problems, err := Check(fstest.MapFS{}, "example.org/m", rules)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Text[:strings.Index(p.Text, ",")])
	}
	if want := []string{"low may import high", "high may import unknown"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestProblemsComeInOrder(t *testing.T) {
	got := check(t, map[string]string{
		"worker/b.go":      source("worker", "./paramserver", "google.golang.org/grpc"),
		"worker/a.go":      source("worker", "./paramserver"),
		"dataset/a.go":     source("dataset", "./worker"),
		"paramserver/z.go": source("paramserver", "./worker"),
	})
	var at []string
	for _, p := range got {
		at = append(at, p[:strings.Index(p, ": ")])
	}
	want := []string{"dataset/a.go:2", "paramserver/z.go:2", "worker/a.go:2", "worker/b.go:2", "worker/b.go:3"}
	if !slices.Equal(at, want) {
		t.Errorf("got %q, want %q", at, want)
	}
}

// one fails unless got is the one problem that begins with want, or none where
// want is empty.
func one(t *testing.T, name string, got []string, want string) {
	t.Helper()
	switch {
	case want == "" && len(got) != 0:
		t.Errorf("%s: got %q, want nothing", name, got)
	case want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], want)):
		t.Errorf("%s:\ngot  %q\nwant %q", name, got, want)
	}
}
