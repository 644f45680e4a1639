package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/bench"
	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
)

// allNetworks stands for every network.
const allNetworks = "all"

// benchBatch is the batch of networks that are not too large for it, and
// largeBatch that of alexnet-2012.
const (
	benchBatch   = 128
	largeBatch   = 32
	largeNetwork = "alexnet-2012"
)

// portableImages is the batch of --portable: one lane block, the least that the
// portable kernels compute as much of as of a large batch.
const portableImages = kernel.Lanes

type benchStepOptions struct {
	networks   []string
	inputSizes map[string]int
	threads    []int
	batch      int
	shards     int
	precision  string
	steps      int
	time       time.Duration
	layers     bool
	portable   bool
	json       bool
	logs       logs.Options
}

// command is the command whose flags set o.
func (o *benchStepOptions) command() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "step",
		Short: "Measure whole training steps: images and useful operations a second, by network and threads",
		Long: `Step measures whole training steps of one worker that holds all shards of a job:
forward, backward, the sums of gradients of each shard, and the update of all
parameters. Images are made up; dropout is on. It prints the median step, the rate
of useful operations (no taps on padding, no gradient of the images) and its share
of the peak of fused multiply-adds, which is measured before each step on the same
threads with the same kernels; it is float32's whatever --precision is, so that
bf16 can exceed it.

MUSTER_KERNEL=portable measures the portable kernels, MUSTER_KERNEL=avx2 those.`,
		Example: `  muster bench step
  muster bench step --network all --threads 1,2 --json
  muster bench step --network alexnet-cifar --threads 1 --layers --portable`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	threads := []int{1}
	if n := runtime.GOMAXPROCS(0); n > 1 {
		threads = append(threads, n)
	}
	settings.Group(cmd.Flags(), "Step", func(fs *pflag.FlagSet) {
		fs.StringSliceVar(&o.networks, "network", []string{"alexnet"}, "`networks` to measure: all, or of "+strings.Join(model.Names(), ", "))
		fs.IntSliceVar(&o.threads, "threads", threads, "numbers of CPU `threads` to measure each with")
		fs.IntVar(&o.batch, "batch", benchBatch, fmt.Sprintf("`images` in a step, a multiple of --shards (%s: %d unless given)", largeNetwork, largeBatch))
		fs.IntVar(&o.shards, "shards", 8, "logical `shards`, all of the one worker")
		fs.StringVar(&o.precision, "precision", device.F32.String(), "`precision` of the factors of products: f32 or bf16")
		fs.StringToIntVar(&o.inputSizes, "input-size", nil, "`NAME=pixels`: side of a network's input (alexnet-tf: what compare takes unless given); may be repeated")
	})
	settings.Group(cmd.Flags(), "Measurement", func(fs *pflag.FlagSet) {
		fs.DurationVar(&o.time, "time", 3*time.Second, "`time` to measure each network and number of threads for, at least 5 steps")
		fs.IntVar(&o.steps, "steps", 0, "`steps` to measure instead (0: by --time)")
		fs.BoolVar(&o.layers, "layers", false, "tell the time by layer too")
		fs.BoolVar(&o.portable, "portable", false, fmt.Sprintf("compare with a step of %d images by the portable kernels, which takes seconds to minutes", portableImages))
	})
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print a line of JSON for each network and number of threads")
	return cmd
}

// measured is a step, and the portable kernels' where it was asked for.
type measured struct {
	*bench.Step
	portable *bench.Step
}

func (o *benchStepOptions) run(cmd *cobra.Command) error {
	log, _, err := o.logs.Open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := kernel.Check(); err != nil {
		return settings.Usage(err)
	}
	configs, err := o.configs(cmd)
	if err != nil {
		return err
	}
	var all []measured
	for _, cfg := range configs {
		log.Info("measuring", "network", cfg.Network.Name, "input", shape(cfg.Network.Input), "batch", cfg.Batch, "threads", cfg.Threads)
		m, err := o.measure(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		if o.json {
			if err := m.printJSON(cmd.OutOrStdout()); err != nil {
				return err
			}
			continue
		}
		all = append(all, m)
	}
	if o.json {
		return nil
	}
	return o.print(cmd.OutOrStdout(), all)
}

// configs are the steps to measure, all checked before the first is.
func (o *benchStepOptions) configs(cmd *cobra.Command) ([]bench.StepConfig, error) {
	origin := func(name string) string { return settings.Origin(cmd, name) }
	switch {
	case o.shards < 1:
		return nil, settings.Usagef("%s %d: at least 1 shard is needed", origin("shards"), o.shards)
	case o.steps < 0:
		return nil, settings.Usagef("%s %d: at least 1 step is needed, or 0 to go by --time", origin("steps"), o.steps)
	case o.time <= 0:
		return nil, settings.Usagef("%s %v: more than 0 is needed", origin("time"), o.time)
	case o.steps > 0 && cmd.Flags().Changed("time"):
		return nil, settings.Usagef("%s and %s exclude each other: give the number of steps or the time", origin("steps"), origin("time"))
	case len(o.threads) == 0:
		return nil, settings.Usagef("%s: at least one number of threads is needed", origin("threads"))
	case len(o.networks) == 0:
		return nil, settings.Usagef("%s: at least one network is needed", origin("network"))
	}
	if at := slices.IndexFunc(o.threads, func(n int) bool { return n < 1 || n > bench.MaxThreads }); at >= 0 {
		return nil, settings.Usagef("%s %d: 1 to %d are allowed", origin("threads"), o.threads[at], bench.MaxThreads)
	}
	precision, err := device.ParsePrecision(o.precision)
	if err != nil {
		return nil, settings.Usagef("%s: %w", origin("precision"), err)
	}
	names := o.networks
	if slices.Contains(names, allNetworks) {
		if len(names) > 1 {
			return nil, settings.Usagef("%s %s: all stands alone", origin("network"), strings.Join(names, ","))
		}
		names = model.Names()
	}
	for name, side := range o.inputSizes {
		if !slices.Contains(names, name) {
			return nil, settings.Usagef("%s %s=%d: it is not one of the networks measured, %s", origin("input-size"), name, side, strings.Join(names, ", "))
		}
		if side < 1 {
			return nil, settings.Usagef("%s %s=%d: at least 1 pixel is needed", origin("input-size"), name, side)
		}
	}
	var all []bench.StepConfig
	for _, name := range names {
		net, err := o.network(name)
		if err != nil {
			return nil, settings.Usage(err)
		}
		batch := o.batch
		if name == largeNetwork && !cmd.Flags().Changed("batch") {
			batch = max(largeBatch, o.shards)
		}
		if err := sharedEvenly(batch, o.shards); err != nil {
			return nil, settings.Usagef("%s %w", origin("batch"), err)
		}
		for _, threads := range o.threads {
			all = append(all, bench.StepConfig{
				Network: net, Threads: threads, Batch: batch, Shards: o.shards, Precision: precision,
				Warm: 2, Steps: o.steps, Time: o.time, Layers: o.layers,
			})
		}
	}
	return all, nil
}

// network is the network of a name, at the input size asked for or, for one that
// is made for CIFAR-10 and wants larger images, at that of a comparison.
func (o *benchStepOptions) network(name string) (*model.Network, error) {
	net, err := model.New(name, model.Options{})
	if err != nil {
		return nil, err
	}
	side := o.inputSizes[name]
	if side == 0 && name != largeNetwork && net.Preprocess.Side > dataset.Side {
		side = suitingSide(name)
	}
	if side == 0 {
		return net, nil
	}
	return model.New(name, model.Options{InputSize: side})
}

// sharedEvenly refuses a batch that shards can't share, and names the nearest.
func sharedEvenly(batch, shards int) error {
	switch below := batch / shards * shards; {
	case batch < 1:
		return fmt.Errorf("%d: at least 1 image is needed", batch)
	case batch%shards == 0:
		return nil
	case below == 0:
		return fmt.Errorf("%d is not divisible by --shards %d: %d would be", batch, shards, shards)
	default:
		return fmt.Errorf("%d is not divisible by --shards %d: %d or %d would be", batch, shards, below, below+shards)
	}
}

// measure measures one configuration.
func (o *benchStepOptions) measure(ctx context.Context, cfg bench.StepConfig) (measured, error) {
	step, err := bench.MeasureStep(ctx, cfg)
	if err != nil || !o.portable {
		return measured{Step: step}, err
	}
	cfg.Batch, cfg.Warm, cfg.Steps, cfg.Layers = portableImages, 0, 1, false
	cfg.Shards = min(cfg.Shards, portableImages)
	for cfg.Batch%cfg.Shards != 0 {
		cfg.Shards--
	}
	chosen := kernel.Name()
	if err := kernel.Select("portable"); err != nil {
		return measured{}, err
	}
	portable, err := bench.MeasureStep(ctx, cfg)
	if e := kernel.Select(chosen); err == nil {
		err = e
	}
	return measured{step, portable}, err
}
