package compare

import (
	"math"
	"slices"

	"github.com/muster-train/muster/paramserver/checkpoint"
)

// Experiment is what was compared, and where.
type Experiment struct {
	Command  string   `json:"command"` // as typed
	Settings Settings `json:"settings"`
	Runs     []Run    `json:"runs"` // in the order of the command
	Machine  Machine  `json:"machine"`
	Data     Data     `json:"data"`
}

// Settings are the conditions that all networks share.
type Settings struct {
	Epochs  int    `json:"epochs"`
	Batch   int    `json:"batch"`
	Shards  int    `json:"shards"`
	Limit   int    `json:"limit_batches"` // steps of an epoch; 0: all
	Seed    uint64 `json:"seed"`
	Workers int    `json:"workers"`
	Threads int    `json:"threads"` // of each worker
	Device  string `json:"device"`
}

// Data are the images.
type Data struct {
	Name        string `json:"name"`
	Fingerprint string `json:"fingerprint"`
	Train       int    `json:"train_images"`
	Test        int    `json:"test_images"`
	Classes     int    `json:"classes"`
	Synthetic   bool   `json:"synthetic"`
}

// Run is one network's training.
type Run struct {
	Network      string                  `json:"network"`
	Title        string                  `json:"title"`
	Side         int                     `json:"input_size"`        // of the input, in pixels
	SideChosen   bool                    `json:"input_size_chosen"` // by muster, not by the network or the user
	OwnSide      int                     `json:"input_size_own"`
	Parameters   int                     `json:"parameters"`
	FLOP         int64                   `json:"flop"` // of an image's training step, textbook count
	LearningRate float32                 `json:"learning_rate"`
	Momentum     float32                 `json:"momentum"`
	WeightDecay  float32                 `json:"weight_decay"`
	Schedule     string                  `json:"schedule"`
	Augment      string                  `json:"augment"`
	Samples      uint64                  `json:"samples"`
	Hash         string                  `json:"parameters_sha256"`
	Command      string                  `json:"command"` // that repeats this run alone
	Commit       string                  `json:"commit"`  // of the program that began it
	Epochs       []checkpoint.EpochScore `json:"epochs"`
}

// Last is the evaluation after the last epoch.
func (r *Run) Last() checkpoint.EpochScore {
	if n := len(r.Epochs); n > 0 {
		return r.Epochs[n-1]
	}
	nan := checkpoint.Float(math.NaN())
	return checkpoint.EpochScore{TestLoss: nan, TrainLoss: nan, Top1: nan, Top5: nan}
}

// Best is the evaluation of the highest accuracy, the first of equals.
func (r *Run) Best() checkpoint.EpochScore {
	best := r.Last()
	for _, e := range slices.Backward(r.Epochs) {
		if e.Top1 >= best.Top1 {
			best = e
		}
	}
	return best
}

// Seconds is the wall-clock time of all epochs, tests included.
func (r *Run) Seconds() float64 {
	sum := 0.0
	for _, e := range r.Epochs {
		sum += float64(e.Seconds)
	}
	return sum
}

// EpochSeconds is the median time of an epoch: what other work on the machine
// disturbs least.
func (r *Run) EpochSeconds() float64 {
	var all []float64
	for _, e := range r.Epochs {
		all = append(all, float64(e.Seconds))
	}
	slices.Sort(all)
	n := len(all)
	switch {
	case n == 0:
		return math.NaN()
	case n%2 == 1:
		return all[n/2]
	}
	return (all[n/2-1] + all[n/2]) / 2
}

// ImagesPerSecond is the throughput of the median epoch, its test included in
// the time and not in the images.
func (r *Run) ImagesPerSecond() float64 {
	return float64(r.Samples) / float64(len(r.Epochs)) / r.EpochSeconds()
}
