package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// instruction is one of a Dockerfile.
type instruction struct{ word, rest string }

// instructions reads a Dockerfile: comments go, continued lines become one.
func instructions(text string) []instruction {
	var all []instruction
	continued := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		line, more := strings.CutSuffix(line, `\`)
		line = strings.TrimSpace(line)
		if continued {
			all[len(all)-1].rest += " " + line
		} else {
			word, rest, _ := strings.Cut(line, " ")
			all = append(all, instruction{word, rest})
		}
		continued = more
	}
	return all
}

// image is what the last stage of the Dockerfile comes to.
type image struct {
	from, user string
	env        map[string]string
	others     map[string][]string // by word, what else the last stage says
	builds     []string            // what the stages before it run
	bases      []string            // what they stand on
}

// readImage reads a Dockerfile's text.
func readImage(text string) *image {
	im := &image{}
	for _, i := range instructions(text) {
		switch i.word {
		case "FROM":
			if im.from != "" {
				im.bases = append(im.bases, im.from)
			}
			im.from, im.user, im.env, im.others = i.rest, "", map[string]string{}, map[string][]string{}
		case "RUN":
			im.builds = append(im.builds, i.rest)
		case "USER":
			im.user = i.rest
		case "ENV":
			for _, pair := range strings.Fields(i.rest) {
				name, value, _ := strings.Cut(pair, "=")
				im.env[name] = value
			}
		default:
			im.others[i.word] = append(im.others[i.word], i.rest)
		}
	}
	return im
}

// theImage is that of deploy/Dockerfile.
var theImage = sync.OnceValues(func() (*image, error) {
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		return nil, err
	}
	return readImage(string(text)), nil
})

// golang matches the builder's FROM.
var golang = regexp.MustCompile(`(?:^| )golang:(\d+\.\d+)( |$)`)

// fits compares the image with the module and with the pods that run it.
func (im *image) fits(gomod string, m *manifests) error {
	directive := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(gomod)
	if directive == nil || len(im.bases) != 1 {
		return fmt.Errorf("go directive %q, stages on %q", directive, im.bases)
	}
	if got := golang.FindStringSubmatch(im.bases[0]); got == nil || got[1] != directive[1] {
		return fmt.Errorf("it is built by %q, go.mod says %s", im.bases[0], directive[0])
	}
	if im.from != "scratch" || len(im.others["ENTRYPOINT"]) > 0 {
		return fmt.Errorf("from %s, entry point %q: want scratch and none", im.from, im.others["ENTRYPOINT"])
	}
	build := im.builds[slices.IndexFunc(im.builds, func(s string) bool { return strings.Contains(s, "go build") })]
	for _, want := range []string{"CGO_ENABLED=0", "-trimpath", "-o /out" + im.env["PATH"] + "/"} {
		if !strings.Contains(build, want) {
			return fmt.Errorf("the programs are not built with %s: %s", want, build)
		}
	}
	if !slices.Contains(im.others["COPY"], "--from=build /out/ /") {
		return fmt.Errorf("what is built is not copied: %q", im.others["COPY"])
	}
	for _, w := range m.workloads() {
		program, err := w.program()
		if err != nil {
			return err
		}
		if !slices.Contains(strings.Fields(build), "./cmd/"+program) {
			return fmt.Errorf("%s starts %s, which the image doesn't have", w, program)
		}
		s := w.pod().SecurityContext
		if want := fmt.Sprintf("%d:%d", *s.RunAsUser, *s.RunAsGroup); im.user != want {
			return fmt.Errorf("%s runs as %s, the image as %q", w, want, im.user)
		}
	}
	if user, _, _ := strings.Cut(im.user, ":"); user == "0" || strings.Trim(user, "0123456789") != "" {
		return fmt.Errorf("USER %s: want a number that is not root's", im.user)
	}
	cache, err := m.workloads()[1].need("data-cache")
	if err != nil || im.env["XDG_CACHE_HOME"]+"/muster" != cache {
		return fmt.Errorf("the image's cache is %s/muster, that of the pods %s: %w", im.env["XDG_CACHE_HOME"], cache, err)
	}
	return nil
}

func TestImageFitsTheManifests(t *testing.T) {
	gomod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	im, err := theImage()
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range folders {
		if err := im.fits(string(gomod), built(t, folder)); err != nil {
			t.Errorf("%s: %v", folder, err)
		}
	}

	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ old, new, want string }{
		{"golang:1.26", "golang:1.25", "go.mod says go 1.26"},
		{"golang:1.26", "golang:latest", "go.mod says go 1.26"},
		{"./cmd/paramserver ", "", "starts paramserver"},
		{"CGO_ENABLED=0 ", "", "CGO_ENABLED=0"},
		{"USER 65532:65532", "USER nonroot", `the image as "nonroot"`},
		{"USER 65532:65532\n", "", `the image as ""`},
		{"FROM scratch", "FROM alpine", "alpine"},
		{"XDG_CACHE_HOME=/var/cache", "XDG_CACHE_HOME=/cache", "/cache/muster"},
		{"PATH=/usr/local/bin", "PATH=/bin", "-o /out/bin/"},
		{"COPY --from=build /out/ /\n", "", "not copied"},
	} {
		if !strings.Contains(string(text), tc.old) {
			t.Fatalf("the Dockerfile has no %q", tc.old)
		}
		err := readImage(strings.Replace(string(text), tc.old, tc.new, 1)).fits(string(gomod), built(t, "base"))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%q for %q: %v, want an error with %q", tc.new, tc.old, err, tc.want)
		}
	}
}

// ignored says whether a file stays out of the build's context: the last pattern
// that matches it, or a directory it is in, counts.
func ignored(patterns, file string) bool {
	out := false
	for pattern := range strings.Lines(patterns) {
		pattern = strings.TrimSpace(pattern)
		if pattern == "" || strings.HasPrefix(pattern, "#") {
			continue
		}
		pattern, in := strings.CutPrefix(pattern, "!")
		anywhere := strings.HasPrefix(pattern, "**/")
		pattern = strings.TrimPrefix(pattern, "**/")
		for at := file; at != "."; at = path.Dir(at) {
			name := at
			if anywhere {
				name = path.Base(at)
			}
			if ok, err := path.Match(pattern, name); ok && err == nil {
				out = !in
			}
		}
	}
	return out
}

// TestContextHoldsWhatIsBuilt asks the go command which files the programs are
// made of.
func TestContextHoldsWhatIsBuilt(t *testing.T) {
	patterns, err := os.ReadFile("Dockerfile.dockerignore")
	if err != nil {
		t.Fatal(err)
	}
	const files = `{{if .Module}}{{if .Module.Main}}{{$dir := .ImportPath}}{{range .GoFiles}}{{$dir}}/{{.}}
{{end}}{{range .SFiles}}{{$dir}}/{{.}}
{{end}}{{range .EmbedFiles}}{{$dir}}/{{.}}
{{end}}{{end}}{{end}}`
	list := exec.Command("go", "list", "-deps", "-f", files, "../cmd/paramserver", "../cmd/worker", "../cmd/muster")
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	sources := strings.Fields(string(out))
	if len(sources) < 50 {
		t.Fatalf("the programs are made of %d files: %q", len(sources), sources)
	}
	for _, file := range append(sources, "m/m/m/go.mod", "m/m/m/go.sum") {
		file = strings.Join(strings.Split(file, "/")[3:], "/") // without the module's path
		if ignored(string(patterns), file) {
			t.Errorf("%s is left out of the context", file)
		}
	}
	for _, file := range []string{
		".git/HEAD", "README.md", "docs/style.md", "deploy/base/job.yaml", "bin/worker", "muster-default/best.ckpt", "tools/go.mod",
		"worker/worker_test.go", "model/testdata/golden.py", "internal/e2e/doc.go", "internal/lint/rules.go", ".venv/lib/x.py",
	} {
		if !ignored(string(patterns), file) {
			t.Errorf("%s is in the context", file)
		}
	}
}
