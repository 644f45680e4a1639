package kernel

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Variable is the name of the environment variable that forces a kernel.
const Variable = "MUSTER_KERNEL"

// level says which form of the kernels runs. A higher level is faster.
type level int

const (
	portable level = iota
	avx2
	avx512
)

var levelNames = [...]string{portable: "portable", avx2: "avx2", avx512: "avx512"}

// active is set before main starts, and by Select.
var active, variableErr = fromEnvironment(os.Getenv(Variable))

// fromEnvironment returns the level that value, of Variable, asks for: the best
// one where it is empty or can't be had, then with an error.
func fromEnvironment(value string) (level, error) {
	l, err := parseLevel(value)
	if err != nil {
		return best(), fmt.Errorf("%s: %w", Variable, err)
	}
	return l, nil
}

// Name returns the name of the kernels in use: "portable", "avx2" or "avx512".
func Name() string { return levelNames[active] }

// Names returns the names of the kernels that this machine can run, the
// slowest first. The first is "portable".
func Names() []string {
	var names []string
	for l, name := range levelNames {
		if supported(level(l)) {
			names = append(names, name)
		}
	}
	return names
}

// Select changes to the kernels of that name, or to the fastest where name is
// empty. It returns an error and changes nothing where name is not among Names.
// It must not run at the same time as any other function of this package: it
// is for tests and benchmarks.
func Select(name string) error {
	l, err := parseLevel(name)
	if err != nil {
		return err
	}
	active = l
	return nil
}

// Check returns an error where the environment variable MUSTER_KERNEL asks for
// kernels that are unknown or that this machine can't run. Programs call it
// when they start; the fastest kernels are in use then.
func Check() error { return variableErr }

func parseLevel(name string) (level, error) {
	if name == "" {
		return best(), nil
	}
	l := level(slices.Index(levelNames[:], name))
	switch {
	case l < 0:
		return 0, fmt.Errorf("unknown kernel %q (this machine can run: %s)", name, strings.Join(Names(), ", "))
	case !supported(l):
		return 0, fmt.Errorf("kernel %q needs instructions that this machine lacks (it can run: %s)", name, strings.Join(Names(), ", "))
	}
	return l, nil
}

func best() level {
	l := level(len(levelNames) - 1)
	for !supported(l) {
		l--
	}
	return l
}
