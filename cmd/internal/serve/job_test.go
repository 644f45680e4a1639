package serve

import (
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/model"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// flags is a command with a server's flags, given args.
func flags(t *testing.T, o *Options, args ...string) *cobra.Command {
	t.Helper()
	cmd := &cobra.Command{Use: "test"}
	o.Define(cmd.Flags())
	o.DefineAlone(cmd.Flags())
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestJobIsTheRecipeUnlessToldOtherwise(t *testing.T) {
	net, err := model.New("lenet5", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	recipe := func() *musterv1.JobSpec {
		r := net.Recipe
		return &musterv1.JobSpec{
			Name: "default", Network: "lenet5", Activation: "relu", Shards: 8, Batch: 128, Epochs: 10, Seed: 1,
			LearningRate: r.LearningRate, Momentum: r.Momentum, WeightDecay: r.WeightDecay, Nesterov: r.Nesterov,
			Schedule: r.Schedule, Augment: r.Augment,
		}
	}
	for _, tc := range []struct {
		args   string
		change func(*musterv1.JobSpec)
	}{
		{"", func(*musterv1.JobSpec) {}},
		{"--job mine", func(j *musterv1.JobSpec) { j.Name = "mine" }},
		{"--activation softplus", func(j *musterv1.JobSpec) { j.Activation = "softplus" }},
		{"--input-size 48", func(j *musterv1.JobSpec) { j.InputSize = 48 }},
		{"--classes 12", func(j *musterv1.JobSpec) { j.Classes = 12 }},
		{"--shards 3 --batch 9", func(j *musterv1.JobSpec) { j.Shards, j.Batch = 3, 9 }},
		{"--epochs 2 --limit-batches 5 --seed 7", func(j *musterv1.JobSpec) { j.Epochs, j.LimitBatches, j.Seed = 2, 5, 7 }},
		{"--lr 0.5", func(j *musterv1.JobSpec) { j.LearningRate = 0.5 }},
		{"--momentum 0 --weight-decay 0", func(j *musterv1.JobSpec) { j.Momentum, j.WeightDecay = 0, 0 }}, // 0 is given too
		{"--nesterov", func(j *musterv1.JobSpec) { j.Nesterov = true }},
		{"--schedule exp:0.5,100", func(j *musterv1.JobSpec) { j.Schedule = "exp:0.5,100" }},
		{"--augment flip", func(j *musterv1.JobSpec) { j.Augment = "flip" }},
		{"--precision f32", func(*musterv1.JobSpec) {}},
		{"--precision bf16", func(j *musterv1.JobSpec) { j.Precision = "bf16" }},
		{"--encoding f32", func(*musterv1.JobSpec) {}},
		{"--encoding bf16", func(j *musterv1.JobSpec) { j.Encoding = "bf16" }},
		{"--encoding int8", func(j *musterv1.JobSpec) { j.Encoding = "int8" }},
		{"--encoding factors", func(j *musterv1.JobSpec) { j.Encoding = "factors" }},
		{"--sync sync", func(*musterv1.JobSpec) {}},
		{"--sync ssp:3", func(j *musterv1.JobSpec) { j.Sync = "ssp:3" }},
		{"--sync async", func(j *musterv1.JobSpec) { j.Sync = "async" }},
		{"--max-time 1h", func(*musterv1.JobSpec) {}}, // no part of the job's identity
	} {
		var o Options
		cmd := flags(t, &o, append([]string{"--network", "lenet5"}, strings.Fields(tc.args)...)...)
		got, err := o.Job.Spec(cmd)
		if err != nil {
			t.Errorf("%q: %v", tc.args, err)
			continue
		}
		want := recipe()
		tc.change(want)
		if !proto.Equal(got, want) {
			t.Errorf("%q gives the job\n\t%v, want\n\t%v", tc.args, got, want)
		}
	}
}

func TestEveryNetworksRecipeIsAJob(t *testing.T) {
	for _, name := range model.Names() {
		var o Options
		if _, err := o.Config(flags(t, &o, "--network", name)); err != nil {
			t.Errorf("--network %s and nothing else: %v", name, err)
		}
	}
}

func TestFlagsOfAServerAreRefused(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--network lenet6", `unknown network "lenet6" (did you mean lenet5?)`},
		{"--activation gelu", `unknown activation "gelu"`},
		{"--lrn-order paper", "only alexnet-2012 has a choice"},
		{"--job a/b", `--job: `},
		{"--batch 100 --shards 8", "--batch 100 is not divisible by --shards 8: 96 or 104 would be"},
		{"--batch 3 --shards 8", "--batch 3 is not divisible by --shards 8: 8 or 16 would be"},
		{"--batch 0", "batch 0"},
		{"--shards 0", "shards 0: 1 to 4096 are allowed"},
		{"--epochs 0", "epochs 0"},
		{"--lr 0", "lr 0"},
		{"--lr nan", "lr NaN"},
		{"--momentum 1", "momentum 1"},
		{"--schedule sometimes", "sometimes"},
		{"--augment blur", "blur"},
		{"--precision fp16", `--precision: unknown precision "fp16"; want f32 or bf16`},
		{"--encoding fp8", `--encoding: unknown encoding "fp8"; want one of f32, bf16, int8, factors`},
		{"--sync bsp", `--sync: unknown synchronisation "bsp"; want sync, ssp:K as in ssp:2, or async`},
		{"--sync ssp:0", `--sync: synchronisation "ssp:0": a worker may be 1 to 1000 steps ahead, as with ssp:2`},
		{"--sync ssp:x", `--sync: synchronisation "ssp:x": a worker may be 1 to 1000 steps ahead, as with ssp:2`},
		{"--keep 0", "keep 0"},
		{"--shard-timeout -1s", "shard-timeout -1s"},
		{"--worker-timeout -1s", "worker-timeout -1s: at least 0 is needed; 0 is for ever"},
		{"--max-time -1s", "max-time -1s"},
		{"--checkpoint-every often", `--checkpoint-every "often"`},
	} {
		var o Options
		_, err := o.Config(flags(t, &o, strings.Fields(tc.args)...))
		if err == nil || settings.Status(err) != settings.StatusUsage || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want wrong use with %q", tc.args, err, tc.want)
		}
	}
}

func TestConfigTakesTheFlags(t *testing.T) {
	var o Options
	c, err := o.Config(flags(t, &o, "--network", "lenet5", "--job", "mine", "--checkpoint-every", "20steps", "--keep", "2",
		"--resume", "none", "--shard-timeout", "5s", "--worker-timeout", "7s", "--max-time", "1h", "--stragglers", "keep"))
	if err != nil {
		t.Fatal(err)
	}
	if c.CheckpointDir != "muster-mine" || c.CheckpointSteps != 20 || c.CheckpointEvery != 0 || c.Keep != 2 || c.Resume != "none" ||
		c.ShardTimeout != 5*time.Second || c.WorkerTimeout != 7*time.Second || c.MaxTime != time.Hour || !c.KeepShards {
		t.Errorf("configuration %+v", c)
	}
}

func TestEvery(t *testing.T) {
	for _, tc := range []struct {
		text  string
		at    time.Duration
		steps int
		ok    bool
	}{
		{"60s", time.Minute, 0, true},
		{"1h30m", 90 * time.Minute, 0, true},
		{"0s", 0, 0, true},
		{"1steps", 0, 1, true},
		{"100steps", 0, 100, true},
		{"0steps", 0, 0, false},
		{"-5steps", 0, 0, false},
		{"+5steps", 0, 0, false},
		{"05steps", 0, 0, false},
		{"0x5steps", 0, 0, false},
		{"5 steps", 0, 0, false},
		{"1.5steps", 0, 0, false},
		{"steps", 0, 0, false},
		{"-60s", 0, 0, false},
		{"60", 0, 0, false},
		{"", 0, 0, false},
		{"99999999999999999999steps", 0, 0, false},
	} {
		at, steps, err := every(tc.text)
		if at != tc.at && err == nil || steps != tc.steps && err == nil || (err == nil) != tc.ok {
			t.Errorf("every(%q) = %v, %d, %v; want %v, %d, ok=%v", tc.text, at, steps, err, tc.at, tc.steps, tc.ok)
		}
	}
}
