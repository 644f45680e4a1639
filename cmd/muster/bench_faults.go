package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/chaos"
	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
)

type benchFaultsOptions struct {
	seed     uint64
	duration time.Duration
	interval time.Duration
	workers  int
	servers  int
	dir      string
	json     bool
	logs     logs.Options
}

// command is the command whose flags set o.
func (o *benchFaultsOptions) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "faults",
		Short: "Destroy a job's processes, links and files for a while, and compare its parameters with an undisturbed job's",
		Long: `Faults runs a small job as it runs on a cluster: an etcd, parameter servers of which one
leads and the others stand by, and workers, each a process, with links between them that
can be cut. For --duration it destroys one after the other, as --seed says: ` + strings.Join(chaos.Kinds(), ", ") + `.
What has ended is started again. Then all is mended, the job has to go on, and is
stopped; and an undisturbed job is trained to the same step. Parameters, momentum, images
counted and evaluations of both have to be equal: else the exit status is 1, and the
files are kept.`,
		Example: `  muster bench faults
  muster bench faults --seed 7 --duration 15m --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	settings.Group(cmd.Flags(), "Destruction", func(fs *pflag.FlagSet) {
		fs.Uint64Var(&o.seed, "seed", 1, "`seed` of what is destroyed and when")
		fs.DurationVar(&o.duration, "duration", 3*time.Minute, "`time` for which it goes on; the undisturbed job takes about half as long")
		fs.DurationVar(&o.interval, "interval", 4*time.Second, "`time` between two faults, in the mean")
	})
	settings.Group(cmd.Flags(), "Job", func(fs *pflag.FlagSet) {
		fs.IntVar(&o.workers, "workers", 3, "`workers` to begin with; some join and leave")
		fs.IntVar(&o.servers, "servers", 2, "parameter `servers`, of which one leads")
		fs.StringVar(&o.dir, "dir", "", "`directory` to leave all files in (default: one for a while)")
	})
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print a line of JSON")
	return cmd
}

func (o *benchFaultsOptions) run(cmd *cobra.Command) (err error) {
	log, _, err := o.logs.Open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	cfg := chaos.Config{Seed: o.seed, Interval: o.interval, Duration: o.duration, Workers: o.workers, Servers: o.servers, Log: log}
	if err := cfg.Validate(); err != nil {
		return settings.Usage(err)
	}
	if cfg.Program, err = os.Executable(); err != nil {
		return err
	}
	if o.dir != "" {
		err = os.MkdirAll(o.dir, 0o700)
	}
	if err == nil {
		cfg.Dir, err = os.MkdirTemp(o.dir, "muster-faults-")
	}
	if err != nil {
		return settings.Usage(err)
	}
	report, err := chaos.Run(cmd.Context(), cfg)
	if err == nil {
		if err = o.print(cmd.OutOrStdout(), report); err == nil && !report.HashEqual {
			err = fmt.Errorf("the job is not what it would have been: %s", strings.Join(append(report.Differences, "parameters sha256:"+report.Hash+", undisturbed sha256:"+report.Want), "; "))
		}
	}
	switch {
	case err != nil && cmd.Context().Err() == nil:
		return fmt.Errorf("%w; what everybody wrote is in %s", err, cfg.Dir)
	case o.dir == "":
		err = errors.Join(err, os.RemoveAll(cfg.Dir))
	}
	return err
}

// faultsLine is what --json prints.
type faultsLine struct {
	Faults          int                `json:"faults"`
	HashEqual       bool               `json:"hash_equal"`
	StepsRecomputed uint64             `json:"steps_recomputed"`
	SecondsLost     float64            `json:"seconds_lost"`
	Seed            uint64             `json:"seed"`
	Duration        float64            `json:"duration_seconds"`
	Steps           uint64             `json:"steps"`
	Seconds         float64            `json:"seconds"`
	Takeovers       int                `json:"takeovers"`
	Hash            string             `json:"parameters_sha256"`
	Kinds           map[chaos.Kind]int `json:"kinds"`
}

func (o *benchFaultsOptions) print(out io.Writer, r *chaos.Report) error {
	if o.json {
		return json.NewEncoder(out).Encode(faultsLine{
			r.Faults, r.HashEqual, r.StepsRecomputed, r.SecondsLost, o.seed, o.duration.Seconds(), r.Step, r.Seconds, r.Takeovers, r.Hash, r.Kinds,
		})
	}
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	type line struct {
		kind  chaos.Kind
		times int
	}
	var lines []line
	for kind, times := range r.Kinds {
		lines = append(lines, line{kind, times})
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Or(b.times-a.times, cmp.Compare(a.kind, b.kind)) })
	fmt.Fprintln(table, "fault\ttimes")
	for _, l := range lines {
		fmt.Fprintf(table, "%s\t%d\n", l.kind, l.times)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%d faults in %v; %d steps, of which %d were computed again; %d times another server led; %.0f s longer than undisturbed\nparameters sha256:%s, undisturbed sha256:%s\n",
		r.Faults, o.duration, r.Step, r.StepsRecomputed, r.Takeovers, r.SecondsLost, r.Hash, r.Want)
	return err
}
