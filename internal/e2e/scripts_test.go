package e2e

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var rewrite = flag.Bool("rewrite", false, "write what programs say now into the scripts")

// TestScripts runs testdata/script/*.txtar: commands, what they print, and why.
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("TestScripts starts many processes")
	}
	testscript.Run(t, testscript.Params{
		Dir:           "testdata/script",
		UpdateScripts: *rewrite,
		Setup: func(e *testscript.Env) error {
			// Sockets and caches of their own; no variable of the machine sets a flag.
			e.Setenv("PATH", programs+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
			e.Setenv("MUSTER_DATA", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// status N PROGRAM ARGS...: the program ends with exit status N.
			"status": status,
			// same FILE FILE: both hold the same `parameters sha256:` line.
			"same": same,
			// flip FILE OFFSET: changes one bit.
			"flip": flip,
			// contains FILE FILE: the first holds the hash that the second printed.
			"contains": contains,
			// interrupt TEXT PROGRAM ARGS...: a Ctrl-C once the program has said TEXT;
			// it ends with exit status 3, and what it said is standard error.
			"interrupt": interrupt,
			// reach ADDRESS STEP: waits until the server there has made a step.
			"reach": reachStep,
			// follow ADDRESS: waits until a standby follows the server there.
			"follow": followed,
			// picture FILE.gif: draws a chequered square.
			"picture": picture,
		},
	})
}
