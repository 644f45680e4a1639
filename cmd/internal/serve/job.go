package serve

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// JobOptions are the flags that describe a job.
type JobOptions struct {
	Name, Network, Activation, LRNOrder string
	Precision, Encoding, Sync           string
	InputSize, Classes                  uint32
	Shards, Batch, Epochs, LimitBatches uint32
	Seed                                uint64
	LearningRate, Momentum, WeightDecay float32
	Nesterov                            bool
	Schedule, Augment                   string
	MaxTime                             time.Duration
}

// Define defines the flags.
func (o *JobOptions) Define(flags *pflag.FlagSet) {
	settings.Group(flags, "Job", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.Name, "job", "default", "`name` of the job")
		fs.StringVar(&o.Network, "network", "alexnet", "`network`: "+strings.Join(model.Names(), ", "))
		fs.StringVar(&o.Activation, "activation", "relu", "`function` of hidden layers: relu, leaky-relu, softplus")
		fs.Uint32Var(&o.InputSize, "input-size", 0, "side of the network's input in `pixels` (0: the network's own)")
		fs.StringVar(&o.LRNOrder, "lrn-order", "", "`place` of normalisation in alexnet-2012: article (after pooling), paper (before)")
		fs.Uint32Var(&o.Classes, "classes", 0, "`outputs` of the network (0: its own), at least as many as the data have classes")
		fs.Uint32Var(&o.Shards, "shards", 8, "logical `shards` of the training set, fixed for the job's life")
		fs.Uint32Var(&o.Batch, "batch", 128, "`images` in a step over all shards, a multiple of --shards")
		fs.Uint32Var(&o.Epochs, "epochs", 10, "`epochs` to train (the article: 200)")
		fs.Uint32Var(&o.LimitBatches, "limit-batches", 0, "`batches` of an epoch at most (0: the whole training set)")
		fs.DurationVar(&o.MaxTime, "max-time", 0, "end training after this `time`, e.g. 30m (0: no limit)")
		fs.StringVar(&o.Precision, "precision", device.F32.String(), "`precision` of the factors of products: f32, or bf16, which is faster where the processor has AVX512_BF16 at full speed (AMD from Zen 4 on)")
		fs.StringVar(&o.Encoding, "encoding", wire.F32.String(), "`encoding` of gradients and parameters: f32; bf16, half of the bytes; int8, a quarter for gradients, whose bits then depend on who computes what; factors, f32's bits with less to send of large fully connected layers, whose products the server then forms. Where memory is shared nothing is encoded: parameters are bfloat16s with bf16 and int8, gradients with bf16 alone")
		fs.StringVar(&o.Sync, "sync", wire.Sync{}.String(), "`when` gradients are applied: sync, once all shards have contributed to a step; ssp:K, each as it comes, workers being at most K steps ahead of the slowest; async, without that bound. But for sync the bits depend on the order in which gradients come")
		fs.Uint64Var(&o.Seed, "seed", 1, "`seed` of every random choice")
	})
	settings.Group(flags, "Optimisation (defaults: the network's recipe)", func(fs *pflag.FlagSet) {
		fs.Float32Var(&o.LearningRate, "lr", 0, "learning `rate`, of the mean gradient")
		fs.Float32Var(&o.Momentum, "momentum", 0, "momentum `coefficient`")
		fs.Float32Var(&o.WeightDecay, "weight-decay", 0, "L2 `coefficient`, on weights and biases alike")
		fs.BoolVar(&o.Nesterov, "nesterov", false, "Nesterov's form of momentum")
		fs.StringVar(&o.Schedule, "schedule", "", "learning-rate `schedule`: constant, discexp:a,b, exp:a,b, poly:a,b, caffe_poly:a,b, linear:a,b, manual:seg:rate,..., pass_manual:..., cosine[:total], onecycle[:...]; warmup:N+ before any")
		fs.StringVar(&o.Augment, "augment", "", "`changes` to training images: none, or a list of pad-crop, flip, colour-pca, cutout")
	})
}

// Spec is the job that the flags describe: what was not given is the network's recipe.
func (o *JobOptions) Spec(cmd *cobra.Command) (*musterv1.JobSpec, error) {
	net, err := model.New(o.Network, model.Options{Activation: o.Activation, InputSize: int(o.InputSize), LRNOrder: o.LRNOrder, Classes: int(o.Classes)})
	if err != nil {
		return nil, settings.Usagef("%w", err)
	}
	if err := membership.ValidateJob(o.Name); err != nil {
		return nil, settings.Usagef("%s: %w", settings.Origin(cmd, "job"), err)
	}
	precision, err := device.ParsePrecision(o.Precision)
	if err != nil {
		return nil, settings.Usagef("%s: %w", settings.Origin(cmd, "precision"), err)
	}
	encoding, err := wire.ParseEncoding(o.Encoding)
	if err != nil {
		return nil, settings.Usagef("%s: %w", settings.Origin(cmd, "encoding"), err)
	}
	mode, err := wire.ParseSync(o.Sync)
	if err != nil {
		return nil, settings.Usagef("%s: %w", settings.Origin(cmd, "sync"), err)
	}
	recipe := net.Recipe
	spec := &musterv1.JobSpec{
		Name: o.Name, Network: o.Network, Activation: o.Activation, InputSize: o.InputSize, LrnOrder: o.LRNOrder, Classes: o.Classes,
		Shards: o.Shards, Batch: o.Batch, Epochs: o.Epochs, LimitBatches: o.LimitBatches, Seed: o.Seed,
		LearningRate: recipe.LearningRate, Momentum: recipe.Momentum, WeightDecay: recipe.WeightDecay, Nesterov: recipe.Nesterov,
		Schedule: recipe.Schedule, Augment: recipe.Augment,
	}
	if precision != device.F32 { // which is what an empty field means
		spec.Precision = precision.String()
	}
	if encoding != wire.F32 {
		spec.Encoding = encoding.String()
	}
	if mode.Relaxed {
		spec.Sync = mode.String()
	}
	given := func(name string, set func()) {
		if cmd.Flags().Changed(name) {
			set()
		}
	}
	given("lr", func() { spec.LearningRate = o.LearningRate })
	given("momentum", func() { spec.Momentum = o.Momentum })
	given("weight-decay", func() { spec.WeightDecay = o.WeightDecay })
	given("nesterov", func() { spec.Nesterov = o.Nesterov })
	given("schedule", func() { spec.Schedule = o.Schedule })
	given("augment", func() { spec.Augment = o.Augment })
	if spec.Shards > 0 && spec.Batch%spec.Shards != 0 {
		near := max(spec.Batch/spec.Shards, 1) * spec.Shards
		return nil, settings.Usagef("%s %d is not divisible by --shards %d: %d or %d would be",
			settings.Origin(cmd, "batch"), spec.Batch, spec.Shards, near, near+spec.Shards)
	}
	return spec, nil
}

// every parses --checkpoint-every: a time, or a number of steps as 100steps.
func every(text string) (at time.Duration, steps int, err error) {
	if n, ok := strings.CutSuffix(text, "steps"); ok {
		if _, err := fmt.Sscan(n, &steps); err != nil || steps < 1 || fmt.Sprint(steps) != n {
			return 0, 0, fmt.Errorf("%q: want a time such as 60s, or a number of steps such as 100steps", text)
		}
		return 0, steps, nil
	}
	if at, err = time.ParseDuration(text); err != nil || at < 0 {
		return 0, 0, fmt.Errorf("%q: want a time such as 60s, or a number of steps such as 100steps", text)
	}
	return at, 0, nil
}
