package deploy

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// planned are flags that manifests have before their program does. An entry must
// go as soon as the program knows the flag; TestPlannedFlagsAreNotThereYet sees to
// it.
var planned = map[string][]string{
	"worker": {"gpu"}, // overlays/gpu is for a build with GPU support
}

// scratch is the directory of what all tests share.
var scratch string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "muster-deploy-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		scratch = dir
		return m.Run()
	}())
}

// binaries builds the three programs once, as the Dockerfile does, and returns
// the directory they are in.
var binaries = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(scratch, "bin") + string(filepath.Separator)
	cmd := exec.Command("go", "build", "-trimpath", "-o", dir, "../cmd/paramserver", "../cmd/worker", "../cmd/muster")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the programs: %w\n%s", err, out)
	}
	return dir, nil
})

// execute runs a program to its end with nothing but the environment given.
func execute(program string, env []string, args ...string) (status int, output string, err error) {
	dir, err := binaries()
	if err != nil {
		return 0, "", err
	}
	var out bytes.Buffer
	cmd := exec.Command(filepath.Join(dir, program), args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = append([]string{}, env...), scratch, &out, &out // an Env of nil would be the test's own
	var ended *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &ended) {
		return 0, "", fmt.Errorf("run %s: %w", program, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), nil
}

var flagLine = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`)

// listed is what known has found out, by command. Tests here don't run at the
// same time.
var listed = map[string][]string{}

// known are the flags that a program or one of muster's commands lists in its
// help.
func known(command ...string) ([]string, error) {
	if names := listed[strings.Join(command, " ")]; names != nil {
		return names, nil
	}
	status, help, err := execute(command[0], nil, append(command[1:], "--help")...)
	if err == nil && status != 0 {
		err = fmt.Errorf("%s --help ended with status %d: %s", strings.Join(command, " "), status, help)
	}
	if err != nil {
		return nil, err
	}
	var names []string
	for _, m := range flagLine.FindAllStringSubmatch(help, -1) {
		names = append(names, m[1])
	}
	listed[strings.Join(command, " ")] = names
	return names, nil
}

// knows says whether a program has a flag.
func knows(t *testing.T, program, name string) bool {
	t.Helper()
	names, err := known(program)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Contains(names, name)
}

// withoutPlanned drops the flags that the program doesn't have yet.
func withoutPlanned(program string, args []string) []string {
	return slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		name, _, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
		return slices.Contains(planned[program], name)
	})
}

func TestPlannedFlagsAreNotThereYet(t *testing.T) {
	for program, names := range planned {
		for _, name := range names {
			if knows(t, program, name) {
				t.Errorf("%s has --%s now: take it out of planned, and see what README.md says of it", program, name)
			}
			status, output, err := execute(program, nil, "--"+name+"=0")
			if err != nil || status != statusUsage || !strings.Contains(output, "unknown flag --"+name) {
				t.Errorf("%s --%s=0 ended with status %d, %v: %s", program, name, status, err, output)
			}
		}
	}
}

func TestHelpIsReadWhole(t *testing.T) {
	for program, want := range map[string][]string{
		"paramserver": {"port", "http", "checkpoint-dir", "checkpoint-every", "nesterov", "when-done", "config", "help"},
		"worker":      {"server", "shard", "data", "data-cache", "http", "threads", "config", "help"},
	} {
		got, err := known(program)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range want {
			if !slices.Contains(got, name) {
				t.Errorf("%s --help: --%s was not found among %q", program, name, got)
			}
		}
	}
	if _, err := known("worker", "--sing"); err == nil {
		t.Error("a program that complains is taken to help")
	}
}
