package settings

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestHelpGroupsFlagsBySubjectWithUnitsAndDefaults(t *testing.T) {
	status, stdout, stderr := execute(t, program(&given{}, nil), "train", "--help")
	if status != 0 || stderr != "" {
		t.Fatalf("status %d: %s", status, stderr)
	}
	want := `trains a network

Usage:
  muster train [flags]

Job:
      --job name             name of the job (default "default")
      --batch images         images in a step, over all shards (default 128)
      --seed uint            of everything random (default 1)
      --shard-timeout time   time until a silent shard moves (default 30s)

Recipe:
      --lr rate           learning rate per image (default 0.01)
      --patience epochs   epochs without a better score before stopping (default "off")

General:
      --standby           wait to take over
      --listen address    address to serve, repeatable
      --data source       source of the images (default "auto")
      --log-level level   least level logged: debug, info (default info)
      --config file       YAML file with values of flags
  -h, --help              help for train

A flag counts over the environment (--log-level: MUSTER_LOG_LEVEL), that over the file
of --config (log-level: info), that over the default.
`
	if stdout != want {
		t.Errorf("got\n%s\nwant\n%s", stdout, want)
	}
}

func TestHelpOfACommandThatHoldsOthersListsThem(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"help"}} {
		status, stdout, stderr := execute(t, program(&given{}, nil), args...)
		if status != 0 || stderr != "" {
			t.Fatalf("%v: status %d: %s", args, status, stderr)
		}
		for _, want := range []string{
			"\n  muster COMMAND [flags]\n", "\n  train       trains a network\n", "\n  data        looks after the images\n",
			"\n  completion ", "\nGeneral:\n", "\nSee 'muster COMMAND --help' for one command.\n",
		} {
			if !strings.Contains(stdout, want) {
				t.Errorf("%v: no %q in\n%s", args, want, stdout)
			}
		}
		if strings.Contains(stdout, "  muster [flags]") {
			t.Errorf("%v: the root itself runs nothing:\n%s", args, stdout)
		}
	}
}

func TestVersionSaysWhatWasBuilt(t *testing.T) {
	status, stdout, _ := execute(t, program(&given{}, nil), "--version")
	if status != 0 {
		t.Fatalf("status %d", status)
	}
	for _, want := range []string{"muster      ", "\ncommit      ", "\ngo          " + runtime.Version() + " ", "\ncpu         portable\n", "\ngpu         not built in\n"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
}

func TestVersionTextOfABuild(t *testing.T) {
	built := func(version string, settings ...debug.BuildSetting) *debug.BuildInfo {
		return &debug.BuildInfo{Main: debug.Module{Version: version}, Settings: settings}
	}
	revision := debug.BuildSetting{Key: "vcs.revision", Value: "abc"}
	for _, tc := range []struct {
		name            string
		info            *debug.BuildInfo
		version, commit string
	}{
		{"none", nil, "(devel)", "unknown"},
		{"without a repository", built(""), "(devel)", "unknown"},
		{"clean", built("v1.2.3", revision, debug.BuildSetting{Key: "vcs.modified", Value: "false"}), "v1.2.3", "abc"},
		{"changed", built("v1.2.3", revision, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "v1.2.3", "abc with changes"},
	} {
		if got := buildVersion(tc.info); got != tc.version {
			t.Errorf("%s: version %q, want %q", tc.name, got, tc.version)
		}
		if got := commit(tc.info); got != tc.commit {
			t.Errorf("%s: commit %q, want %q", tc.name, got, tc.commit)
		}
	}
	if got := versionText("worker", nil, "{{.Name}}"); strings.Contains(got, "{{") {
		t.Errorf("a template in %q", got)
	}
}

func TestCompletionIsOfferedWithAndWithoutCommands(t *testing.T) {
	alone := func() *cobra.Command {
		return &cobra.Command{Use: "worker", RunE: func(*cobra.Command, []string) error { return nil }}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		for _, root := range []*cobra.Command{program(&given{}, nil), alone()} {
			status, stdout, stderr := execute(t, root, "completion", shell)
			if status != 0 || !strings.Contains(stdout, root.Name()) {
				t.Errorf("%s for %s: status %d: %s", shell, root.Name(), status, stderr)
			}
		}
	}
	if status, _, stderr := execute(t, alone(), "extra"); status != StatusUsage || !strings.HasPrefix(stderr, `worker: worker takes no arguments, got "extra"`) {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestWordsOfAnEnumAreCompleted(t *testing.T) {
	_, stdout, _ := execute(t, program(&given{}, nil), "__complete", "train", "--log-level", "")
	if !strings.HasPrefix(stdout, "debug\ninfo\n") {
		t.Errorf("got %q", stdout)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"batch", "checkpoint-dir", "job", "shards", "shard-timeout", "lr"}
	for _, tc := range []struct{ in, want string }{
		{"bacth", "batch"},
		{"Batch", "batch"},
		{"batches", "batch"},
		{"shard", "shards"},
		{"shardtimeout", "shard-timeout"},
		{"checkpoint", "checkpoint-dir"}, // the beginning of a longer word
		{"jub", "job"},
		{"lr", "lr"},
		{"l", ""},
		{"colour", ""},
		{"zz", ""},
		{"", ""},
	} {
		if got := nearest(tc.in, known); got != tc.want {
			t.Errorf("nearest(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func TestEdits(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"abc", "abc", 0},
		{"abc", "acb", 1},
		{"kitten", "sitting", 3},
		{"bacth", "batch", 1},
	} {
		if got := edits(tc.a, tc.b); got != tc.want {
			t.Errorf("edits(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
		if back := edits(tc.b, tc.a); back != tc.want {
			t.Errorf("edits(%q, %q) = %d, want %d", tc.b, tc.a, back, tc.want)
		}
	}
}
