package docs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// The stand-ins: this test's own program under the names of those that need a
// cluster. They keep no state but which image was built and loaded, and what was
// applied, in the directory that the variable names.
var clusterPrograms = []string{"docker", "kind", "kubectl"}

func isCluster(name string) bool { return slices.Contains(clusterPrograms, name) }

// standIns puts them into bin.
func standIns(t *testing.T, bin string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range clusterPrograms {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// cluster does what a stand-in is told, or says what is wrong with it.
func cluster(name string, args []string) error {
	line := strings.Join(args, " ")
	switch {
	case name == "docker" && len(args) == 6 && args[0] == "build" && args[1] == "-f" && args[3] == "-t":
		text, err := os.ReadFile(args[2])
		if err != nil {
			return err
		}
		if _, err := os.Stat(filepath.Join(args[5], "go.mod")); err != nil {
			return fmt.Errorf("the context is not the repository: %w", err)
		}
		if !strings.Contains(string(text), "\nFROM ") {
			return fmt.Errorf("%s builds nothing", args[2])
		}
		return remember("built", args[4])
	case name == "kind" && len(args) == 3 && strings.HasPrefix(line, "load docker-image "):
		if args[2] != recall("built") {
			return fmt.Errorf("image %s was not built", args[2])
		}
		return remember("loaded", args[2])
	case name == "kubectl" && len(args) == 3 && strings.HasPrefix(line, "apply -k "):
		objects, err := build(args[2])
		if err != nil {
			return err
		}
		for _, image := range imagesOf(objects) {
			if image != recall("loaded") {
				return fmt.Errorf("image %s was not loaded", image)
			}
		}
		return remember("applied", args[2])
	case name == "kubectl" && len(args) == 3 && strings.HasPrefix(line, "delete -k "):
		if args[2] != recall("applied") {
			return fmt.Errorf("%s was not applied", args[2])
		}
		return remember("applied", "")
	case name == "kubectl" && len(args) > 2 && args[0] == "-n":
		objects, err := build(recall("applied"))
		if err != nil {
			return err
		}
		return ask(objects, args[1], args[2:])
	}
	return fmt.Errorf("the stand-in doesn't know: %s", line)
}

// ask checks a command about objects of a namespace.
func ask(objects resmap.ResMap, namespace string, args []string) error {
	has := func(kind, name string) error {
		for _, o := range objects.Resources() {
			if strings.EqualFold(o.GetKind(), kind) && o.GetName() == name && (o.GetNamespace() == namespace || kind == "namespace") {
				return nil
			}
		}
		return fmt.Errorf("no %s %q in namespace %q", kind, name, namespace)
	}
	if err := has("namespace", namespace); err != nil {
		return err
	}
	named := func(s string) error {
		kind, name, _ := strings.Cut(s, "/")
		return has(kind, name)
	}
	switch args[0] {
	case "get":
		if len(args) != 2 || args[1] != "pods" {
			return errors.New("get: pods alone are known")
		}
		return nil
	case "logs":
		if len(args) != 2 {
			return errors.New("logs: of what?")
		}
		return named(args[1])
	case "wait":
		patience, given := strings.CutPrefix(args[2], "--timeout=")
		if _, err := time.ParseDuration(patience); len(args) != 4 || args[1] != "--for=condition=complete" || !given || err != nil {
			return fmt.Errorf("wait: %q", args)
		}
		return named(args[3])
	}
	return fmt.Errorf("the stand-in doesn't know: %s", strings.Join(args, " "))
}

// build is what an overlay comes to, as kubectl makes it.
func build(dir string) (resmap.ResMap, error) {
	if dir == "" {
		return nil, errors.New("nothing was applied")
	}
	return krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
}

// imagesOf are those of all containers.
func imagesOf(objects resmap.ResMap) []string {
	var all []string
	for _, o := range objects.Resources() {
		containers, err := o.GetSlice("spec.template.spec.containers")
		if err != nil {
			continue // it has no pods
		}
		for _, c := range containers {
			if fields, ok := c.(map[string]any); ok {
				all = append(all, fmt.Sprint(fields["image"]))
			}
		}
	}
	return all
}

// stateVariable names the directory of what the stand-ins remember.
const stateVariable = "TUTORIAL_CLUSTER"

// remember keeps a value, recall reads it; empty: there is none.
func remember(what, value string) error {
	return os.WriteFile(filepath.Join(os.Getenv(stateVariable), what), []byte(value), 0o600)
}

func recall(what string) string {
	value, err := os.ReadFile(filepath.Join(os.Getenv(stateVariable), what))
	if err != nil {
		return ""
	}
	return string(value)
}
