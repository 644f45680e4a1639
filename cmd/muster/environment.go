package main

import (
	"os"
	"strings"

	"github.com/muster-train/muster/internal/kernel"
)

// workerEnvironment is this process's, without the variables that set flags:
// a worker gets those it needs on its command line.
func workerEnvironment() []string {
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, "MUSTER_") || name == "MUSTER_DATA" || name == kernel.Variable {
			env = append(env, e)
		}
	}
	return env
}
