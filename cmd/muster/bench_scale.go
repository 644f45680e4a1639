package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/bench"
	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/chart"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
)

type benchScaleOptions struct {
	network   string
	workers   []int
	bandwidth string
	delay     time.Duration
	computes  []string
	encodings []string
	shards    int
	steps     int
	plot      string
	json      bool
	logs      logs.Options
}

// The network whose computing is known, and what it takes at batch 128; where
// from, docs/benchmarks.md says.
const scaleNetwork = "alexnet"

var scaleComputes = []string{"2cores=89ms", "h200=1.1ms"}

// command is the command whose flags set o.
func (o *benchScaleOptions) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scale",
		Short: "Measure how efficient many workers are, over emulated links and with emulated computing",
		Long: `Scale measures steps of workers that have a machine and a batch of their own each,
beside a server that has one too. Server, streams, and every byte of them are those of
training. Computing is emulated by waiting: gradients are sent as backward would have
them, and the next step begins when all parameters have come. So are the links: each
machine has one, and all connections share the server's.
Efficiency is the time of computing over that of the step: 1 if exchanging took no time.
Bound is the most that any exchange of as many bytes could reach over these links.
Everything runs in one process. Where this machine is slower than the links, all times
are made longer by one factor, dilation, and bandwidths smaller.
What alexnet takes on 2 cores is measured, h200 is an estimate: docs/benchmarks.md.`,
		Example: `  muster bench scale
  muster bench scale --workers 1,8,32 --bandwidth 25Gbit --compute gpu=4ms --plot scale.png
  muster bench scale --network lenet5 --compute 2cores=4ms --json`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	settings.Group(cmd.Flags(), "Emulation", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.network, "network", scaleNetwork, "`network` whose parameters are exchanged: "+strings.Join(model.Names(), ", "))
		fs.IntSliceVar(&o.workers, "workers", []int{1, 2, 4, 8, 16, 32}, "numbers of `workers` to measure")
		fs.StringVar(&o.bandwidth, "bandwidth", "10Gbit", "`rate` of each machine's link in each direction: a number and kbit, Mbit or Gbit")
		fs.DurationVar(&o.delay, "delay", 100*time.Microsecond, "`time` from server to worker, and back")
		fs.StringSliceVar(&o.computes, "compute", scaleComputes, "`name=time` of the forward and backward passes of a worker's batch, one or more")
		fs.StringSliceVar(&o.encodings, "encoding", wire.Encodings[:1], "`encodings` to measure: all, or of "+strings.Join(wire.Encodings, ", "))
		fs.IntVar(&o.shards, "shards", 32, "logical `shards`, at least as many as workers")
	})
	settings.Group(cmd.Flags(), "Measurement", func(fs *pflag.FlagSet) {
		fs.IntVar(&o.steps, "steps", 3, "`steps` measured of each")
		fs.StringVar(&o.plot, "plot", "", "draw efficiency over workers to this `file`: "+strings.Join(chart.Extensions, " or "))
	})
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print a line of JSON for each encoding, number of workers and kind of computing")
	return cmd
}

func (o *benchScaleOptions) run(cmd *cobra.Command) error {
	log, _, err := o.logs.Open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	cfg, err := o.config(cmd)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "muster-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var measured []*bench.Scale
	for _, name := range o.encodings {
		encoding, err := wire.ParseEncoding(name)
		if err != nil {
			return err
		}
		for _, workers := range o.workers {
			log.Info("measuring", "network", o.network, "workers", workers, "encoding", encoding)
			if cfg.Dir, err = os.MkdirTemp(dir, strconv.Itoa(workers)+"-"); err != nil {
				return err
			}
			cfg.Workers, cfg.Encoding = workers, encoding
			scales, err := bench.MeasureScale(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			measured = append(measured, scales...)
			if o.json {
				if err := printScaleJSON(cmd.OutOrStdout(), scales); err != nil {
					return err
				}
			}
		}
	}
	// Lines of one kind of computing stand together, in the order of the flags.
	slices.SortStableFunc(measured, func(a, b *bench.Scale) int {
		order := func(s *bench.Scale) int { return slices.Index(cfg.Computes, s.Compute) }
		return cmp.Or(order(a)-order(b), slices.Index(o.encodings, a.Config.Encoding.String())-slices.Index(o.encodings, b.Config.Encoding.String()))
	})
	if !o.json {
		if err := printScale(cmd.OutOrStdout(), measured); err != nil {
			return err
		}
	}
	if o.plot != "" {
		return plotScale(o.plot, measured)
	}
	return nil
}

// config refuses what can't be measured, and returns the rest, without workers
// and encoding.
func (o *benchScaleOptions) config(cmd *cobra.Command) (bench.ScaleConfig, error) {
	cfg := bench.ScaleConfig{Shards: o.shards, Delay: o.delay, Steps: o.steps}
	origin := func(name string) string { return settings.Origin(cmd, name) }
	if o.shards < 1 {
		return cfg, settings.Usagef("%s %d: at least 1 shard is needed", origin("shards"), o.shards)
	}
	if len(o.workers) == 0 {
		return cfg, settings.Usagef("%s: at least one number of workers is needed", origin("workers"))
	}
	for _, n := range o.workers {
		if n < 1 || n > o.shards {
			return cfg, settings.Usagef("%s %d: 1 to %d are allowed, the shards there are", origin("workers"), n, o.shards)
		}
	}
	if o.steps < 1 || o.steps > bench.MaxScaleSteps {
		return cfg, settings.Usagef("%s %d: 1 to %d are allowed", origin("steps"), o.steps, bench.MaxScaleSteps)
	}
	if o.delay < 0 || o.delay > maxScaleTime {
		return cfg, settings.Usagef("%s %v: 0s to %v are allowed", origin("delay"), o.delay, maxScaleTime)
	}
	if o.plot != "" {
		if err := chart.Check(o.plot); err != nil {
			return cfg, settings.Usagef("%s %w", origin("plot"), err)
		}
	}
	var err error
	if cfg.Bandwidth, err = parseBandwidth(o.bandwidth); err != nil {
		return cfg, settings.Usagef("%s %w", origin("bandwidth"), err)
	}
	if o.network != scaleNetwork && !cmd.Flags().Changed("compute") {
		return cfg, settings.Usagef("%s %s: needed: --compute, since what it takes is known of %s alone", origin("network"), o.network, scaleNetwork)
	}
	if cfg.Computes, err = parseComputes(o.computes); err != nil {
		return cfg, settings.Usagef("%s %w", origin("compute"), err)
	}
	if len(o.encodings) == 1 && o.encodings[0] == all {
		o.encodings = wire.Encodings
	}
	if len(o.encodings) == 0 {
		return cfg, settings.Usagef("%s: at least one is needed, of %s", origin("encoding"), strings.Join(wire.Encodings, ", "))
	}
	for _, name := range o.encodings {
		if !slices.Contains(wire.Encodings, name) {
			return cfg, settings.Usagef("%s %s: all, alone, or of %s", origin("encoding"), name, strings.Join(wire.Encodings, ", "))
		}
	}
	if cfg.Network, err = model.New(o.network, model.Options{}); err != nil {
		return cfg, settings.Usage(err)
	}
	return cfg, nil
}

// maxScaleTime bounds what is waited for.
const maxScaleTime = 10 * time.Second

// parseBandwidth reads bits a second, as tc writes them: 10Gbit.
func parseBandwidth(s string) (float64, error) {
	for _, unit := range []struct {
		name string
		bits float64
	}{{"kbit", 1e3}, {"Mbit", 1e6}, {"Gbit", 1e9}} {
		number, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		if v, err := strconv.ParseFloat(number, 64); err == nil && 1e6 <= v*unit.bits && v*unit.bits <= 1e12 {
			return v * unit.bits, nil
		}
	}
	return 0, fmt.Errorf("%s: allowed are 1Mbit to 1000Gbit, as a number and kbit, Mbit or Gbit", s)
}

// mostComputes bounds how many kinds of computing are measured in one run: all their
// steps are of one epoch.
const mostComputes = 8

// parseComputes reads name=time, each name once.
func parseComputes(list []string) ([]bench.Compute, error) {
	if len(list) == 0 || len(list) > mostComputes {
		return nil, fmt.Errorf("%s: 1 to %d are allowed, as name=time", strings.Join(list, ","), mostComputes)
	}
	var computes []bench.Compute
	for _, s := range list {
		name, text, _ := strings.Cut(s, "=")
		d, err := time.ParseDuration(text)
		if err != nil || name == "" || d <= 0 || d > maxScaleTime {
			return nil, fmt.Errorf("%s: wanted is name=time, as %s, of at most %v", s, scaleComputes[0], maxScaleTime)
		}
		if slices.ContainsFunc(computes, func(c bench.Compute) bool { return c.Name == name }) {
			return nil, fmt.Errorf("%s: %s is there already, names must differ", s, name)
		}
		computes = append(computes, bench.Compute{Name: name, Time: d})
	}
	return computes, nil
}
