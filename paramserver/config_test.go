package paramserver

import (
	"math"
	"strings"
	"testing"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func TestConfigRefusesWhatCannotWork(t *testing.T) {
	for _, tc := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Job.Shards = 0 }, "shards 0"},
		{func(c *Config) { c.Job.Batch = 3 }, "batch 3: a multiple of the 2 shards"},
		{func(c *Config) { c.Job.Epochs = 0 }, "epochs 0"},
		{func(c *Config) { c.Job.LearningRate = float32(math.NaN()) }, "lr NaN"},
		{func(c *Config) { c.Job.Momentum = 1 }, "momentum 1"},
		{func(c *Config) { c.Job.Network = "alexnett" }, "alexnet"},
		{func(c *Config) { c.Job.Schedule = "sometimes" }, "sometimes"},
		{func(c *Config) { c.Job.Augment = "blur" }, "blur"},
		{func(c *Config) { c.Job.Precision = "fp16" }, "fp16"},
		{func(c *Config) { c.Job.Encoding = "fp8" }, "fp8"},
		{func(c *Config) { c.Keep = 0 }, "keep 0"},
		{func(c *Config) { c.CheckpointDir = "" }, "checkpoint-dir"},
		{func(c *Config) { c.MaxTime = -1 }, "max-time"},
		{func(c *Config) { c.ShardTimeout = -1 }, "shard-timeout"},
		{func(c *Config) { c.WorkerTimeout = -1 }, "worker-timeout"},
		{func(c *Config) { c.NotFinite = 0 }, "refusals"},
	} {
		c := testConfig(t)
		tc.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Validate = %v, want an error that says %q", err, tc.want)
		}
	}
	c := testConfig(t)
	if err := c.Validate(); err != nil {
		t.Errorf("Validate of a good configuration: %v", err)
	}
}

func TestDescriptionsTellPrecisionAndEncoding(t *testing.T) {
	j := &musterv1.JobSpec{Name: "j", Network: "lenet5", Schedule: "constant"}
	f32 := Describe(j)
	j.Precision = "bf16"
	if got, want := Describe(j), f32+", bf16"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	j.Precision, j.Encoding = "", "int8"
	if got, want := Describe(j), f32+", exchanged as int8"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
