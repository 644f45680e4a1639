package settings

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// given is what the test program's train command ran with.
type given struct {
	Job      string
	Batch    int
	Seed     uint64
	LR       float64
	Timeout  time.Duration
	Standby  bool
	Patience string
	Listen   []string
	Level    string
	Data     string
	Args     []string

	changed map[string]bool
	origin  map[string]string
}

// program builds a root command with train, status and data; work is what train does.
func program(g *given, work func(*cobra.Command) error) *cobra.Command {
	root := &cobra.Command{Use: "muster", Short: "trains networks"}
	train := &cobra.Command{Use: "train", Short: "trains a network", RunE: func(cmd *cobra.Command, args []string) error {
		g.Args = args
		g.changed, g.origin = map[string]bool{}, map[string]string{}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			g.changed[f.Name], g.origin[f.Name] = f.Changed, Origin(cmd, f.Name)
		})
		if work != nil {
			return work(cmd)
		}
		return nil
	}}
	Group(train.Flags(), "Job", func(fs *pflag.FlagSet) {
		fs.StringVar(&g.Job, "job", "default", "`name` of the job")
		fs.IntVar(&g.Batch, "batch", 128, "`images` in a step, over all shards")
		fs.Uint64Var(&g.Seed, "seed", 1, "of everything random")
	})
	Group(train.Flags(), "Recipe", func(fs *pflag.FlagSet) {
		fs.Float64Var(&g.LR, "lr", 0.01, "learning `rate` per image")
		fs.StringVar(&g.Patience, "patience", "off", "`epochs` without a better score before stopping")
	})
	Group(train.Flags(), "Job", func(fs *pflag.FlagSet) {
		fs.DurationVar(&g.Timeout, "shard-timeout", 30*time.Second, "`time` until a silent shard moves")
	})
	train.Flags().BoolVar(&g.Standby, "standby", false, "wait to take over")
	train.Flags().StringSliceVar(&g.Listen, "listen", nil, "`address` to serve, repeatable")
	train.Flags().StringVar(&g.Data, "data", "auto", "`source` of the images")
	Enum(train.Flags(), &g.Level, "log-level", "info", []string{"debug", "info"}, "least `level` logged")
	NoEnv(train.Flags(), "data")

	status := &cobra.Command{Use: "status", Short: "shows a job", RunE: func(*cobra.Command, []string) error { return nil }}
	status.Flags().Bool("watch", false, "show again and again")
	data := &cobra.Command{Use: "data", Short: "looks after the images"}
	data.AddCommand(&cobra.Command{Use: "fetch", Short: "downloads them", Args: cobra.ExactArgs(1), RunE: func(*cobra.Command, []string) error { return nil }})
	root.AddCommand(train, status, data)
	SetVersion(root, "portable")
	return root
}

// execute runs the program and returns its status and output.
func execute(t *testing.T, root *cobra.Command, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&errs)
	root.SetArgs(args)
	status = Main(t.Context(), root)
	return status, out.String(), errs.String()
}

// write puts a configuration file into a new folder, which becomes the
// working directory, so that errors name a short path.
func write(t *testing.T, text string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("job.yaml", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "job.yaml"
}

func TestFlagOverEnvironmentOverFileOverDefault(t *testing.T) {
	for _, tc := range []struct {
		name, file, env string
		args            []string
		want            int
		changed         bool
		origin          string
	}{
		{"default", "", "", nil, 128, false, "--batch"},
		{"file", "batch: 16", "", nil, 16, true, "job.yaml: batch"},
		{"environment", "", "32", nil, 32, true, "MUSTER_BATCH"},
		{"environment over file", "batch: 16", "32", nil, 32, true, "MUSTER_BATCH"},
		{"flag over both", "batch: 16", "32", []string{"--batch", "64"}, 64, true, "--batch"},
		{"flag at the default's value", "batch: 16", "32", []string{"--batch=128"}, 128, true, "--batch"},
		{"empty variable is none", "batch: 16", "", nil, 16, true, "job.yaml: batch"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("MUSTER_BATCH", tc.env)
			args := append([]string{"train"}, tc.args...)
			if tc.file != "" {
				args = append(args, "--config", write(t, tc.file))
			}
			var g given
			status, _, stderr := execute(t, program(&g, nil), args...)
			if status != 0 || stderr != "" {
				t.Fatalf("status %d: %s", status, stderr)
			}
			if g.Batch != tc.want || g.changed["batch"] != tc.changed || g.origin["batch"] != tc.origin {
				t.Errorf("batch %d, changed %v, from %s; want %d, %v, %s",
					g.Batch, g.changed["batch"], g.origin["batch"], tc.want, tc.changed, tc.origin)
			}
		})
	}
}

func TestFileTakesEveryKindOfValueAsWritten(t *testing.T) {
	file := write(t, `
# a job
job: no
batch: 256
seed: 18446744073709551615
lr: 1e-3
shard-timeout: 1m30s
standby: true
patience: off
listen: [":9000", "unix:///tmp/s"]
log-level: "debug"
data: 0777
`)
	var g given
	status, _, stderr := execute(t, program(&g, nil), "train", "--config", file)
	if status != 0 {
		t.Fatalf("status %d: %s", status, stderr)
	}
	g.changed, g.origin, g.Args = nil, nil, nil
	want := given{
		Job: "no", Batch: 256, Seed: 18446744073709551615, LR: 1e-3, Timeout: 90 * time.Second, Standby: true,
		Patience: "off", Listen: []string{":9000", "unix:///tmp/s"}, Level: "debug", Data: "0777",
	}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("got  %+v\nwant %+v", g, want)
	}
}

func TestConfigCanComeFromTheEnvironment(t *testing.T) {
	t.Setenv("MUSTER_CONFIG", write(t, "batch: 16"))
	var g given
	if status, _, stderr := execute(t, program(&g, nil), "train"); status != 0 || g.Batch != 16 {
		t.Errorf("status %d, batch %d: %s", status, g.Batch, stderr)
	}
}

func TestVariablesOfOthersAreLeftAlone(t *testing.T) {
	t.Setenv("MUSTER_KERNEL", "portable") // no flag of that name
	t.Setenv("MUSTER_DATA", "/elsewhere") // exempted by NoEnv
	t.Setenv("MUSTER_HELP", "true")
	t.Setenv("MUSTER_VERSION", "true")
	var g given
	status, stdout, stderr := execute(t, program(&g, nil), "train")
	if status != 0 || stdout+stderr != "" || g.Data != "auto" {
		t.Errorf("status %d, data %q, output %q", status, g.Data, stdout+stderr)
	}
}

func TestBadConfigurationIsNamed(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		env        string // of MUSTER_BATCH
		args       []string
		want       string // the first line of the error
	}{
		{"unknown key", "bacth: 3", "", nil, `muster: job.yaml: unknown key "bacth"; did you mean batch?`},
		{"unknown key, nothing near", "colour: red", "", nil, `muster: job.yaml: unknown key "colour"`},
		{"underscore for dash", "shard_timeout: 3s", "", nil, `muster: job.yaml: unknown key "shard_timeout"; did you mean shard-timeout?`},
		{"key of another command", "watch: true", "", nil, `muster: job.yaml: key "watch" is a setting of 'muster status', not of 'muster train'`},
		{"config in a file", "config: other.yaml", "", nil, `muster: job.yaml: unknown key "config"`},
		{"help in a file", "help: true", "", nil, `muster: job.yaml: unknown key "help"`},
		{"nested", "job: {name: x}", "", nil, `muster: job.yaml: job: a value or a list is expected, not nested keys`},
		{"no value", "job:", "", nil, `muster: job.yaml: job: the value is missing`},
		{"list for one value", "batch: [1, 2]", "", nil, `muster: job.yaml: batch: one value is expected, not a list`},
		{"wrong value", "batch: many", "", nil, `muster: job.yaml: batch "many": wanted is a whole number`},
		{"wrong duration", "shard-timeout: 30", "", nil, `muster: job.yaml: shard-timeout "30": wanted is a duration such as 90s or 1h30m`},
		{"wrong word", "log-level: loud", "", nil, `muster: job.yaml: log-level "loud": allowed are debug, info`},
		{"key twice", "batch: 1\nbatch: 2", "", nil, `muster: job.yaml: line 2: key "batch" already set in map`},
		{"no mapping", "just text", "", nil, `muster: job.yaml: a list of 'key: value' lines is expected`},
		{"no YAML", "batch: [1", "", nil, `muster: job.yaml: line 1: did not find expected ',' or ']'`},
		{"no file", "", "", []string{"--config", "missing.yaml"}, `muster: read configuration: open missing.yaml: no such file or directory`},
		{"variable", "", "x", nil, `muster: MUSTER_BATCH "x": wanted is a whole number`},
		{"variable too large", "", "99999999999999999999", nil, `muster: MUSTER_BATCH "99999999999999999999": the number is too large; wanted is a whole number`},
		{"flag", "", "", []string{"--batch", "x"}, `muster: --batch "x": wanted is a whole number`},
		{"flag below 0", "", "", []string{"--seed", "-1"}, `muster: --seed "-1": wanted is a whole number from 0 up`},
		{"flag, truth", "", "", []string{"--standby=maybe"}, `muster: --standby "maybe": wanted is true or false`},
		{"flag, word", "", "", []string{"--log-level", "loud"}, `muster: --log-level "loud": allowed are debug, info`},
		{"flag without value", "", "", []string{"--batch"}, `muster: --batch needs a value: wanted is a whole number`},
		{"flag without text", "", "", []string{"--job"}, `muster: --job needs a value`},
		{"unknown flag", "", "", []string{"--bacth", "3"}, `muster: unknown flag --bacth; did you mean --batch?`},
		{"unknown flag, nothing near", "", "", []string{"--colour"}, `muster: unknown flag --colour`},
		{"unknown letter", "", "", []string{"-x"}, `muster: unknown shorthand flag: 'x' in -x`},
		{"argument", "", "", []string{"alexnet"}, `muster: muster train takes no arguments, got "alexnet"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Setenv("MUSTER_BATCH", tc.env)
			args := append([]string{"train"}, tc.args...)
			if tc.file != "" {
				args = append(args, "--config", write(t, tc.file))
			}
			ran := false
			status, stdout, stderr := execute(t, program(&given{}, func(*cobra.Command) error { ran = true; return nil }), args...)
			if want := tc.want + "\nsee 'muster train --help'\n"; status != StatusUsage || stderr != want || stdout != "" || ran {
				t.Errorf("status %d, ran %v, stdout %q, stderr\n%s\nwant 2, false, \"\" and\n%s", status, ran, stdout, stderr, want)
			}
		})
	}
}

func TestWrongCommandsAreNamed(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"trian"}, "muster: unknown command \"trian\" of 'muster'; did you mean train?\nsee 'muster --help'\n"},
		{[]string{"xyzzy"}, "muster: unknown command \"xyzzy\" of 'muster'\nsee 'muster --help'\n"},
		{[]string{"data", "fecth"}, "muster: unknown command \"fecth\" of 'muster data'; did you mean fetch?\nsee 'muster data --help'\n"},
		{[]string{"data", "fetch"}, "muster: accepts 1 arg(s), received 0\nsee 'muster data fetch --help'\n"},
	} {
		status, _, stderr := execute(t, program(&given{}, nil), tc.args...)
		if status != StatusUsage || stderr != tc.want {
			t.Errorf("%v: status %d\n%s\nwant 2\n%s", tc.args, status, stderr, tc.want)
		}
	}
}

func TestRequiredFlagsAreNamedAndMayComeFromTheEnvironment(t *testing.T) {
	build := func() *cobra.Command {
		root := program(&given{}, nil)
		train, _, err := root.Find([]string{"train"})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"job", "listen"} {
			if err := train.MarkFlagRequired(name); err != nil {
				t.Fatal(err)
			}
		}
		return root
	}
	status, _, stderr := execute(t, build(), "train")
	if want := "muster: needed: --job, --listen\nsee 'muster train --help'\n"; status != StatusUsage || stderr != want {
		t.Errorf("status %d: %q, want 2: %q", status, stderr, want)
	}
	t.Setenv("MUSTER_JOB", "a")
	t.Setenv("MUSTER_LISTEN", ":1,:2")
	if status, _, stderr := execute(t, build(), "train"); status != 0 {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestStatusTellsWhatHappened(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
		want int
		text string
	}{
		{"done", nil, StatusDone, ""},
		{"fault", errors.New("disk full"), StatusFault, "muster: disk full\n"},
		{"use", Usagef("shard %d/%d: %w", 8, 8, errors.New("index must be 0..7")), StatusUsage, "muster: shard 8/8: index must be 0..7\n"},
		{"use, wrapped", fmt.Errorf("join: %w", Usage(errors.New("job differs"))), StatusUsage, "muster: join: job differs\n"},
		{"stopped", fmt.Errorf("job default: %w", &Stopped{"stopped at step 7; go on with --resume auto"}), StatusStopped, "muster: job default: stopped at step 7; go on with --resume auto\n"},
		{"several lines", errors.Join(errors.New("one"), errors.New("two\n  three")), StatusFault, "muster: one; two; three\n"},
	} {
		status, _, stderr := execute(t, program(&given{}, func(*cobra.Command) error { return tc.err }), "train")
		if status != tc.want || stderr != tc.text {
			t.Errorf("%s: status %d, %q; want %d, %q", tc.name, status, stderr, tc.want, tc.text)
		}
	}
	if Usage(nil) != nil {
		t.Error("Usage(nil) is an error")
	}
}

func TestPanicIsAFaultAndSaysSo(t *testing.T) {
	status, _, stderr := execute(t, program(&given{}, func(*cobra.Command) error { panic("odd") }), "train")
	if status != StatusFault || !strings.HasPrefix(stderr, "muster: this is a bug, please report it: odd\n") || !strings.Contains(stderr, "settings_test.go") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestFirstSignalCancelsAndASecondInterruptExits(t *testing.T) {
	signals, exited := make(chan os.Signal), make(chan int)
	var errs bytes.Buffer
	var cause error
	root := program(&given{}, func(cmd *cobra.Command) error {
		signals <- syscall.SIGTERM
		<-cmd.Context().Done()
		cause = context.Cause(cmd.Context())
		signals <- syscall.SIGTERM // again: not an interrupt, so no haste
		signals <- os.Interrupt
		if status := <-exited; status != StatusFault {
			t.Errorf("exits with %d, want %d", status, StatusFault)
		}
		return fmt.Errorf("step 3: %w", cmd.Context().Err())
	})
	root.SetArgs([]string{"train"})
	root.SetErr(&errs)
	status := run(t.Context(), root, signals, func(status int) { exited <- status })
	var signal *SignalError
	if !errors.As(cause, &signal) || signal.Signal != syscall.SIGTERM {
		t.Errorf("the context's cause is %v, want the signal", cause)
	}
	if want := "muster: stopped: signal terminated\n"; status != StatusFault || errs.String() != want {
		t.Errorf("status %d, %q; want %d, %q", status, errs.String(), StatusFault, want)
	}
}

func TestCancellationWithoutASignalIsToldAsItIs(t *testing.T) {
	status, _, stderr := execute(t, program(&given{}, func(*cobra.Command) error { return context.Canceled }), "train")
	if status != StatusFault || stderr != "muster: context canceled\n" {
		t.Errorf("status %d, %q", status, stderr)
	}
}

func TestExistingHooksStillRun(t *testing.T) {
	var order []string
	root := &cobra.Command{
		Use:    "worker",
		PreRun: func(*cobra.Command, []string) { order = append(order, "pre") },
		Run:    func(*cobra.Command, []string) { order = append(order, "run") },
	}
	if status, _, stderr := execute(t, root); status != 0 || strings.Join(order, " ") != "pre run" {
		t.Errorf("status %d, order %v: %s", status, order, stderr)
	}
	root = &cobra.Command{
		Use:     "worker",
		PreRunE: func(*cobra.Command, []string) error { return errors.New("not like this") },
		Run:     func(*cobra.Command, []string) { t.Error("ran in spite of PreRunE") },
	}
	if status, _, stderr := execute(t, root); status != StatusUsage || !strings.HasPrefix(stderr, "worker: not like this\n") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

func TestConfigPathIsNamedAsGiven(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.yaml")
	if err := os.WriteFile(path, []byte("x: 1"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, stderr := execute(t, program(&given{}, nil), "train", "--config", path)
	if !strings.HasPrefix(stderr, "muster: "+path+": unknown key") {
		t.Errorf("got %s", stderr)
	}
}
