package paramserver

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"time"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/telemetry"
	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/paramserver/checkpoint"
	"github.com/muster-train/muster/paramserver/optim"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Config sizes a server. Job is the specification all parts agree on; the rest
// concerns this process alone and never the bits of the parameters.
type Config struct {
	Job *musterv1.JobSpec

	Parts int // servers of the job, of which this one is the first and coordinates

	CheckpointDir   string            // directory of the job's checkpoints
	CheckpointEvery time.Duration     // least time between checkpoints within an epoch; 0: none but at the ends of epochs
	CheckpointSteps int               // steps between checkpoints; 0: by time
	Keep            int               // newest checkpoints to keep beside the best one, at least 1
	State           *checkpoint.State // to go on from, instead of what Resume says: a standby's, which is taken over; nil: none
	Term            uint64            // of the leadership under which this server runs; 0: there are no terms
	Resume          string            // auto: the newest in CheckpointDir if any; none: begin anew; else a checkpoint's path

	SessionGrace  time.Duration // how long a worker without a connection keeps its shards, its lease notwithstanding; and one without a lease, its connection notwithstanding, once etcd is back that was away
	ShardTimeout  time.Duration // how long a pinned shard waits for its worker before another may take it
	WorkerTimeout time.Duration // how long a connected worker that owes something may send nothing before others get its shards; 0: for ever
	DrainTimeout  time.Duration // how long a stop waits for steps under way, with relaxed synchronisation
	MinWorkers    int           // training begins, and goes on from step to step, while so many workers are there, 1 to the number of shards
	KeepShards    bool          // shards stay with workers that are persistently slower than others
	MaxTime       time.Duration // training ends at the first step after this time; 0: no limit
	SharedMemory  bool          // workers of other processes on this machine are offered to share memory
	Linger        bool          // once the job is done, go on answering until Run's context ends or Stop is called
	NotFinite     int           // refusals of one contribution for values that are not finite that end the job

	Pace membership.PaceConfig // when a worker is persistently slower

	Log      *slog.Logger
	Progress Observer     // told of each step and epoch; nil: nobody
	Stopped  func()       // called once a job that is stopped wants nothing more of its workers, before they are sent away; nil: nobody
	Done     func(Result) // called once the job is done and its state saved, before any lingering; nil: nobody
}

// Observer is told how training goes, from the loop's goroutine.
// *telemetry.Progress is one.
type Observer interface {
	Update(telemetry.Sample)
	Epoch(telemetry.EpochResult)
	DebugPass(pass, batch int, cost, classificationError float64)
	DebugTest(pass int, cost, classificationError float64)
}

// DefaultConfig is what the paramserver command uses where no flag says otherwise.
func DefaultConfig() Config {
	return Config{
		Parts:           1,
		CheckpointEvery: time.Minute,
		Keep:            3,
		Resume:          "auto",
		SessionGrace:    10 * time.Second,
		ShardTimeout:    30 * time.Second,
		WorkerTimeout:   time.Minute,
		DrainTimeout:    5 * time.Second,
		NotFinite:       3,
		MinWorkers:      1,
		Pace:            membership.DefaultPaceConfig(),
		Log:             slog.New(slog.DiscardHandler),
	}
}

// Validate returns one sentence about the first setting that can't work.
func (c *Config) Validate() error {
	j := c.Job
	switch {
	case j == nil:
		return errors.New("no job")
	case j.Shards < 1 || j.Shards > 4096:
		return fmt.Errorf("shards %d: 1 to 4096 are allowed", j.Shards)
	case j.Batch < 1 || j.Batch%j.Shards != 0:
		return fmt.Errorf("batch %d: a multiple of the %d shards is needed", j.Batch, j.Shards)
	case j.Epochs < 1:
		return fmt.Errorf("epochs %d: at least 1 is needed", j.Epochs)
	case !(j.LearningRate > 0) || math.IsInf(float64(j.LearningRate), 1):
		return fmt.Errorf("lr %v: a positive number is needed", j.LearningRate)
	case c.MinWorkers < 1 || c.MinWorkers > int(j.Shards):
		return fmt.Errorf("min-workers %d: 1 to the number of shards, %d, are allowed", c.MinWorkers, j.Shards)
	case c.Keep < 1:
		return fmt.Errorf("keep %d: at least 1 is needed", c.Keep)
	case c.CheckpointEvery < 0 || c.CheckpointSteps < 0:
		return errors.New("checkpoint-every: a positive time or number of steps is needed")
	case c.ShardTimeout < 0:
		return fmt.Errorf("shard-timeout %v: at least 0 is needed", c.ShardTimeout)
	case c.WorkerTimeout < 0:
		return fmt.Errorf("worker-timeout %v: at least 0 is needed; 0 is for ever", c.WorkerTimeout)
	case c.SessionGrace <= 0:
		return fmt.Errorf("grace of a lost connection %v: a positive time is needed", c.SessionGrace)
	case c.DrainTimeout < 0:
		return fmt.Errorf("patience at a stop %v: at least 0 is needed", c.DrainTimeout)
	case c.MaxTime < 0:
		return fmt.Errorf("max-time %v: at least 0 is needed", c.MaxTime)
	case c.NotFinite < 1:
		return fmt.Errorf("refusals that end a job %d: at least 1 is needed", c.NotFinite)
	case !(c.Pace.Factor > 1.25) || c.Pace.Steps < 1:
		return fmt.Errorf("a factor of %v in %d steps one after the other makes no worker slow: more than 1.25 in at least 1 is needed", c.Pace.Factor, c.Pace.Steps)
	case c.CheckpointDir == "":
		return errors.New("checkpoint-dir: a directory is needed")
	}
	if err := rule(j).Validate(); err != nil {
		return err
	}
	if _, err := dataset.ParseAugment(j.Augment); err != nil {
		return err
	}
	if _, err := device.ParsePrecision(j.Precision); err != nil {
		return err
	}
	if _, err := wire.ParseEncoding(j.Encoding); err != nil {
		return err
	}
	if _, err := wire.ParseSync(j.Sync); err != nil {
		return err
	}
	if err := checkFactors(j); err != nil {
		return err
	}
	if _, err := optim.ParseSchedule(j.Schedule, float64(j.LearningRate), 1); err != nil {
		return err
	}
	net, err := network(j)
	if err != nil {
		return err
	}
	if chunks := net.Layout.Chunks(); c.Parts < 1 || c.Parts > chunks {
		return fmt.Errorf("%d parts: 1 to %d are possible, the chunks that %s has", c.Parts, chunks, j.Network)
	}
	if mode, _ := wire.ParseSync(j.Sync); mode.Relaxed && c.Parts > 1 {
		return fmt.Errorf("sync %s with %d parts: several parts take sync, since only whole steps are the same in all of them", j.Sync, c.Parts)
	}
	return nil
}

// Describe names a job in one line, for messages.
func Describe(j *musterv1.JobSpec) string {
	s := fmt.Sprintf("%s, %d shards, batch %d, %d epochs, seed %d, lr %v, %s",
		strings.Join([]string{j.Name, j.Network}, " "), j.Shards, j.Batch, j.Epochs, j.Seed, j.LearningRate, j.Schedule)
	if j.Precision != "" {
		s += ", " + j.Precision
	}
	if j.Encoding != "" {
		s += ", exchanged as " + j.Encoding
	}
	if j.Sync != "" {
		s += ", " + j.Sync
	}
	return s
}

func rule(j *musterv1.JobSpec) optim.Rule {
	return optim.Rule{Momentum: j.Momentum, WeightDecay: j.WeightDecay, Nesterov: j.Nesterov}
}

func network(j *musterv1.JobSpec) (*model.Network, error) {
	return model.New(j.Network, model.Options{
		Activation: j.Activation,
		InputSize:  int(j.InputSize),
		LRNOrder:   j.LrnOrder,
		Classes:    int(j.Classes),
	})
}
