package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/compare"
	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/serve"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/cmd/internal/work"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/paramserver"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

type compareOptions struct {
	networks   []string
	inputSizes map[string]int
	directory  string
	resume     string
	job        serve.JobOptions // what all networks share
	work       work.Options
	logs       logs.Options
	workers    int
	json       bool
}

func compareCommand() *cobra.Command {
	var o compareOptions
	cmd := &cobra.Command{
		Use:   "compare",
		Short: "Train several networks under the same conditions and report accuracy and time",
		Long: `Compare repeats the article's experiment: it trains each network with the same
batch, epochs, threads and data, one after the other, and writes a report with
charts. Interrupted, the same command goes on where it was; networks that are
done are not trained again. A network whose own input is larger than CIFAR-10's
images runs on the CPU at the smallest multiple of 32 pixels that it allows.`,
		Example: `  muster compare --epochs 10
  muster compare --networks alexnet,alexnet-lrn,lenet5 --epochs 5 --output runs/lrn
  muster compare --networks alexnet-tf,lenet5 --input-size alexnet-tf=96`,
		RunE: func(cmd *cobra.Command, _ []string) error { return runCompare(cmd, &o) },
	}
	settings.Group(cmd.Flags(), "Experiment", func(fs *pflag.FlagSet) {
		fs.StringSliceVar(&o.networks, "networks", []string{"alexnet", "alexnet-lrn", "alexnet-tf"}, "`networks` to compare, of: "+strings.Join(model.Names(), ", "))
		fs.StringToIntVar(&o.inputSizes, "input-size", nil, "`NAME=pixels`: side of a network's input instead of what suits the machine; may be repeated")
		fs.Uint32Var(&o.job.Epochs, "epochs", 10, "`epochs` to train each (the article: 200)")
		fs.Uint32Var(&o.job.Batch, "batch", 128, "`images` in a step over all shards, a multiple of --shards")
		fs.Uint32Var(&o.job.Shards, "shards", 8, "logical `shards` of the training set")
		fs.Uint32Var(&o.job.LimitBatches, "limit-batches", 0, "`batches` of an epoch at most (0: the whole training set)")
		fs.Uint64Var(&o.job.Seed, "seed", 1, "`seed` of every random choice")
		fs.StringVar(&o.directory, "output", "muster-compare", "`directory` of the report, and of each network's checkpoints below it")
		settings.Enum(fs, &o.resume, "resume", "auto", []string{"auto", resumeNone}, "go on from what is in the directory, or train all anew")
	})
	o.work.Define(cmd.Flags())
	settings.Group(cmd.Flags(), "Workers", func(fs *pflag.FlagSet) {
		fs.IntVar(&o.workers, "workers", 1, "`workers`: 1 in this process, more as processes of their own")
	})
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print a line of JSON for each network")
	return cmd
}

// resumeNone trains anew what is there.
const resumeNone = "none"

// contender is one network of a comparison.
type contender struct {
	network *model.Network
	chosen  bool // its input's side was chosen here
	train   trainOptions
	serving paramserver.Config
}

func runCompare(cmd *cobra.Command, o *compareOptions) error {
	log, console, err := o.logs.Open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	contenders, err := o.contenders(cmd)
	if err != nil {
		return err
	}
	cfg, release, err := o.work.Config(cmd.Context(), console, log)
	if err != nil {
		return err
	}
	defer release()
	x := o.experiment(cmd, cfg.Data, cfg.Device.Name(), contenders[0].train.threads())
	if err := o.sameConditions(contenders, x); err != nil {
		return err
	}
	for i, c := range contenders {
		build, err := c.begin(o, x)
		if err != nil {
			return err
		}
		log.Info("network "+strconv.Itoa(i+1)+" of "+strconv.Itoa(len(contenders)), "network", c.network.Name)
		result, err := c.train.run(cmd, c.serving, cfg, console, log)
		switch {
		case errors.Is(err, paramserver.ErrStopped):
			goOn := "the same command"
			if o.resume == resumeNone {
				goOn = "the same command without --resume none"
			}
			return &settings.Stopped{Message: fmt.Sprintf("stopped at step %d of %s; the state is saved in %s and %s goes on from it",
				result.Step, c.network.Name, o.directory, goOn)}
		case err != nil:
			return fmt.Errorf("%s: %w", c.network.Name, err)
		}
		run := c.outcome(o, cfg.Data, result)
		run.Commit = build.Commit
		x.Runs = append(x.Runs, run)
	}
	if err := compare.Write(o.directory, x); err != nil {
		return err
	}
	return o.print(cmd.OutOrStdout(), x)
}

// contenders are the networks in the order given, checked before any is trained.
func (o *compareOptions) contenders(cmd *cobra.Command) ([]*contender, error) {
	var all []*contender
	seen := map[string]bool{}
	for _, name := range o.networks {
		if seen[name] {
			return nil, settings.Usagef("%s %s: named twice", settings.Origin(cmd, "networks"), name)
		}
		seen[name] = true
		c, err := o.contender(cmd, name)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, settings.Usagef("%s: at least one network is needed", settings.Origin(cmd, "networks"))
	}
	for name := range o.inputSizes {
		if !seen[name] {
			return nil, settings.Usagef("%s %s=%d: it is not one of the networks compared, %s",
				settings.Origin(cmd, "input-size"), name, o.inputSizes[name], strings.Join(o.networks, ", "))
		}
	}
	return all, nil
}

// sameConditions refuses to report networks beside each other that were not
// trained under the same conditions, before any is trained.
func (o *compareOptions) sameConditions(contenders []*contender, x *compare.Experiment) error {
	if o.resume == resumeNone {
		return nil
	}
	for _, c := range contenders {
		had, err := compare.ReadConditions(c.serving.CheckpointDir)
		if err != nil {
			return settings.Usage(err)
		}
		if had == nil {
			if path, err := checkpoint.Find(c.serving.CheckpointDir, checkpoint.WhichNewest, nil); err == nil {
				return settings.Usagef("%s was trained under conditions that are not known; --output names another directory, --resume none trains anew and keeps what is there", path)
			}
			continue
		}
		if d := x.Conditions().Difference(*had); d != "" {
			return settings.Usagef("%s was trained under other conditions: %s; --output names another directory, --resume none trains anew and keeps what is there",
				c.serving.CheckpointDir, d)
		}
	}
	return nil
}

// begin notes the conditions of a training that begins, and returns the build of
// the program that began it.
func (c *contender) begin(o *compareOptions, x *compare.Experiment) (compare.Machine, error) {
	had, err := compare.ReadConditions(c.serving.CheckpointDir)
	if had != nil && err == nil && o.resume != resumeNone {
		return had.Machine, nil
	}
	return x.Machine, x.Conditions().Write(c.serving.CheckpointDir)
}

func (o *compareOptions) contender(cmd *cobra.Command, name string) (*contender, error) {
	net, err := model.New(name, model.Options{})
	if err != nil {
		return nil, settings.Usage(err)
	}
	c := &contender{network: net}
	side, given := o.inputSizes[name]
	if given && side < 1 {
		return nil, settings.Usagef("%s %s=%d: at least 1 pixel is needed", settings.Origin(cmd, "input-size"), name, side)
	}
	if !given && net.Preprocess.Side > dataset.Side {
		c.chosen = true
		side = suitingSide(name)
	}
	if side != 0 {
		if c.network, err = model.New(name, model.Options{InputSize: side}); err != nil {
			return nil, settings.Usagef("%s: %w", settings.Origin(cmd, "input-size"), err)
		}
	}
	job := o.job
	job.Name, job.Network, job.InputSize, job.Activation = "compare-"+name, name, uint32(side), "relu"
	c.train = trainOptions{serve: serve.DefaultOptions(), work: o.work, logs: o.logs, workers: o.workers}
	c.train.serve.Job = job
	c.train.serve.CheckpointDir, c.train.serve.Resume = filepath.Join(o.directory, name), o.resume
	c.serving, err = c.train.config(cmd)
	return c, err
}

// suitingSide is the side of the input at which a network that wants larger
// images than there are is trained on a CPU: the smallest multiple of theirs
// that leaves every layer an output.
func suitingSide(name string) int {
	for side := dataset.Side; side < model.MaxInputSize; side += dataset.Side {
		if _, err := model.New(name, model.Options{InputSize: side}); err == nil {
			return side
		}
	}
	return 0 // the network's own
}

// experiment is what the networks will share.
func (o *compareOptions) experiment(cmd *cobra.Command, set *dataset.Set, device string, threads int) *compare.Experiment {
	return &compare.Experiment{
		Command: effective(cmd),
		Settings: compare.Settings{
			Epochs: int(o.job.Epochs), Batch: int(o.job.Batch), Shards: int(o.job.Shards), Limit: int(o.job.LimitBatches),
			Seed: o.job.Seed, Workers: o.workers, Threads: threads, Device: device,
		},
		Machine: compare.ThisMachine(kernel.Name(), settings.Version(), settings.Commit()),
		Data: compare.Data{
			Name: set.Name, Fingerprint: set.Fingerprint(), Train: set.Train.Len(), Test: set.Test.Len(),
			Classes: len(set.Classes), Synthetic: set.Synthetic,
		},
	}
}

// outcome is what a contender came to.
func (c *contender) outcome(o *compareOptions, set *dataset.Set, r paramserver.Result) compare.Run {
	n, j, total := c.network, c.serving.Job, c.network.Total()
	own := n.Preprocess.Side
	if full, err := model.New(n.Name, model.Options{}); err == nil {
		own = full.Preprocess.Side
	}
	return compare.Run{
		Network: n.Name, Title: n.Title, Side: n.Preprocess.Side, SideChosen: c.chosen, OwnSide: own,
		Parameters: total.Parameters, FLOP: total.Forward.Plus(total.Backward).Textbook,
		LearningRate: j.LearningRate, Momentum: j.Momentum, WeightDecay: j.WeightDecay, Schedule: j.Schedule, Augment: j.Augment,
		Samples: r.Samples, Hash: r.Hash, Command: c.command(o, set), Epochs: r.Epochs,
	}
}

func (o *compareOptions) print(out io.Writer, x *compare.Experiment) error {
	if o.json {
		return x.JSONLines(out)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "network\tinput\taccuracy\tbest\ttest loss\ttime\timages/s\t")
	for i := range x.Runs {
		r := &x.Runs[i]
		last, best := r.Last(), r.Best()
		fmt.Fprintf(w, "%s\t%d\t%.2f %%\t%.2f %%\t%.4f\t%v\t%.0f\t\n", r.Network, r.Side, 100*float64(last.Top1), 100*float64(best.Top1),
			float64(last.TestLoss), time.Duration(r.Seconds()*float64(time.Second)).Round(100*time.Millisecond), r.ImagesPerSecond())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if x.Data.Synthetic {
		fmt.Fprintln(out, "\ntrained on the built-in synthetic images, not on CIFAR-10")
	}
	_, err := fmt.Fprintf(out, "\nreport: %s\n", filepath.Join(o.directory, compare.ReportFile))
	return err
}
