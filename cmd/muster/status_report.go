package main

import (
	"fmt"
	"math"
	"slices"

	"github.com/muster-train/muster/paramserver"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// jobStatus is what `muster status` knows of a job: the text is made of it, and
// as JSON it is a line of --json, whose fields the command's help explains. They
// are a promise to scripts: add to them, but change none.
type jobStatus struct {
	Job       string `json:"job"`
	JobHash   string `json:"job_hash"`
	Network   string `json:"network"`
	Shards    uint32 `json:"shards"`
	BatchSize uint32 `json:"batch_size"`
	Epochs    uint32 `json:"epochs"`
	Seed      uint64 `json:"seed"`
	Synthetic *bool  `json:"synthetic"` // null before a worker has brought the images

	Phase         string   `json:"phase"`
	UnownedShards []uint32 `json:"unowned_shards"`
	MinWorkers    uint32   `json:"min_workers"` // 1: any number will do
	Step          uint64   `json:"step"`
	TotalSteps    *uint64  `json:"total_steps"`  // null as synthetic is
	ResumedStep   uint64   `json:"resumed_step"` // 0: not resumed
	Epoch         uint32   `json:"epoch"`
	Batch         uint32   `json:"batch"`
	Batches       *uint32  `json:"batches"` // null as synthetic is
	Samples       uint64   `json:"samples"`

	// Null before this process's first step, and what is no number.
	LearningRate     *float32 `json:"learning_rate"` // not null where a job was resumed
	Loss             *float64 `json:"loss"`
	Accuracy         *float64 `json:"accuracy"`
	ImagesPerSecond  *float64 `json:"images_per_second"`
	RemainingSeconds *float64 `json:"remaining_seconds"`

	LastEvaluation *scoreStatus `json:"last_evaluation"`
	BestEvaluation *scoreStatus `json:"best_evaluation"`
	Checkpoint     *string      `json:"checkpoint"`
	CheckpointStep *uint64      `json:"checkpoint_step"`

	Workers []workerStatus `json:"workers"`
	Parts   []partStatus   `json:"parts"` // empty: the server has the whole job
	Time    timeStatus     `json:"time"`

	Term     uint64          `json:"term"` // 0: there is no election
	Standbys []standbyStatus `json:"standbys"`

	RefusedNotFinite      uint64 `json:"refused_not_finite"`
	RefusedMalformed      uint64 `json:"refused_malformed"`
	RepeatedContributions uint64 `json:"repeated_contributions"`
	ReceivedBytes         uint64 `json:"received_bytes"`
	SentBytes             uint64 `json:"sent_bytes"`

	// Null before anything was applied by itself, and in jobs with --sync sync.
	StalenessMean *float64 `json:"staleness_mean"`
	StalenessMax  *uint64  `json:"staleness_max"`
	StepsAhead    *uint32  `json:"steps_ahead"`

	described string // the job in a line
	relaxed   bool   // its gradients are applied one by one
}

// scoreStatus is one evaluation of the test set.
type scoreStatus struct {
	Step  uint64   `json:"step"`
	Epoch uint32   `json:"epoch"`
	Loss  *float64 `json:"loss"`
	Top1  *float64 `json:"top1"`
	Top5  *float64 `json:"top5"`
}

type workerStatus struct {
	Worker         string   `json:"worker"`
	Host           string   `json:"host"`
	Device         string   `json:"device"`
	Shards         []uint32 `json:"shards"`
	PinnedShard    *uint32  `json:"pinned_shard"` // null: shards are assigned
	Connected      bool     `json:"connected"`
	Hung           bool     `json:"hung"`            // connected, and silent for too long
	Transport      string   `json:"transport"`       // empty: not connected
	ComputeSeconds *float64 `json:"compute_seconds"` // null before its first step
	Images         uint64   `json:"images"`
	RelativeSpeed  *float64 `json:"relative_speed"` // null: not known
	Straggler      bool     `json:"straggler"`
}

// partStatus is a server that has a part of the parameters.
type partStatus struct {
	Part          string  `json:"part"`
	Address       *string `json:"address"` // null: not there
	Chunks        uint32  `json:"chunks"`
	ReceivedBytes uint64  `json:"received_bytes"`
	SentBytes     uint64  `json:"sent_bytes"`
}

// standbyStatus is a server that follows the one that leads.
type standbyStatus struct {
	Server    string `json:"server"`
	Address   string `json:"address"`
	Following bool   `json:"following"`
}

// timeStatus is where the time of the server's process went.
type timeStatus struct {
	ComputeSeconds  float64 `json:"compute_seconds"`
	ExchangeSeconds float64 `json:"exchange_seconds"`
	WaitSeconds     float64 `json:"wait_seconds"`
	EvaluateSeconds float64 `json:"evaluate_seconds"`
	Images          uint64  `json:"images"`
}

// statusOf tells apart what the message's zeros mean.
func statusOf(r *musterv1.StatusResponse) *jobStatus {
	job := r.GetJob()
	if job == nil {
		job = &musterv1.JobSpec{}
	}
	split := r.GetSplit()
	s := &jobStatus{
		Job: job.Name, JobHash: r.JobHash, Network: job.Network, Shards: job.Shards, BatchSize: job.Batch, Epochs: job.Epochs, Seed: job.Seed,
		Phase: r.Phase, UnownedShards: ascending(r.UnownedShards), MinWorkers: max(r.MinWorkers, 1), Step: r.Step, ResumedStep: r.ResumedStep, Epoch: r.Epoch, Batch: r.Batch, Samples: r.Samples,
		LastEvaluation: scoreOf(r.Last), BestEvaluation: scoreOf(r.Best), Workers: []workerStatus{}, Parts: []partStatus{},
		Term: r.Term, Standbys: []standbyStatus{},
		Time: timeStatus{
			ComputeSeconds: secondsOf(split.GetComputeSeconds()), ExchangeSeconds: secondsOf(split.GetExchangeSeconds()),
			WaitSeconds: secondsOf(split.GetWaitSeconds()), EvaluateSeconds: secondsOf(split.GetEvaluateSeconds()), Images: split.GetImages(),
		},
		RefusedNotFinite: r.RefusedNotFinite, RefusedMalformed: r.RefusedMalformed, RepeatedContributions: r.RepeatedContributions,
		ReceivedBytes: r.GradientBytes, SentBytes: r.ParameterBytes,
		described: paramserver.Describe(job), relaxed: job.Sync != "",
	}
	if c := r.Staleness; c != nil {
		s.StalenessMean, s.StalenessMax, s.StepsAhead = finite(c.Mean), &c.Max, &c.StepsAhead
	}
	for _, b := range r.Standbys {
		s.Standbys = append(s.Standbys, standbyStatus{b.Server, b.Address, b.Following})
	}
	for i, p := range r.Parts {
		part := partStatus{Part: fmt.Sprintf("%d/%d", i, len(r.Parts)), Chunks: p.End - p.First, ReceivedBytes: p.GradientBytes, SentBytes: p.ParameterBytes}
		if p.Address != "" {
			part.Address = &p.Address
		}
		s.Parts = append(s.Parts, part)
	}
	if r.TotalSteps > 0 {
		s.Synthetic, s.TotalSteps = &r.Synthetic, &r.TotalSteps
	}
	if r.Batches > 0 {
		s.Batches = &r.Batches
	}
	if rate := float32(r.LearningRate); r.Step > 0 && finite(float64(rate)) != nil {
		s.LearningRate = &rate
	}
	if split.GetImages() > 0 {
		s.Loss, s.Accuracy = finite(r.Loss), finite(r.Accuracy)
	}
	if r.ImagesPerSecond > 0 {
		s.ImagesPerSecond = finite(r.ImagesPerSecond)
	}
	if r.RemainingSeconds > 0 && !s.over() || r.TotalSteps > 0 && r.Step >= r.TotalSteps {
		s.RemainingSeconds = finite(r.RemainingSeconds)
	}
	if r.Checkpoint != "" {
		s.Checkpoint, s.CheckpointStep = &r.Checkpoint, &r.CheckpointStep
	}
	for _, w := range r.Workers {
		status := workerStatus{
			Worker: w.Worker, Host: w.Host, Device: w.Device, Shards: ascending(w.Shards), Connected: w.Connected, Hung: w.Hung, Transport: w.Transport, Images: w.Images, Straggler: w.Straggler,
		}
		if w.Pinned != nil {
			status.PinnedShard = &w.Pinned.Index
		}
		if w.ComputeSeconds > 0 {
			status.ComputeSeconds = finite(w.ComputeSeconds)
		}
		if w.RelativeSpeed > 0 {
			status.RelativeSpeed = finite(w.RelativeSpeed)
		}
		s.Workers = append(s.Workers, status)
	}
	return s
}

// over tells whether the job has ended.
func (s *jobStatus) over() bool {
	return s.Phase == "done" || s.Phase == "stopped" || s.Phase == "failed"
}

func scoreOf(s *musterv1.Score) *scoreStatus {
	if s == nil {
		return nil
	}
	return &scoreStatus{Step: s.Step, Epoch: s.Epoch, Loss: finite(s.Loss), Top1: finite(s.Top1), Top5: finite(s.Top5)}
}

// finite is x, nil where it is NaN or infinite.
func finite(x float64) *float64 {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return nil
	}
	return &x
}

// secondsOf is seconds where they can be, else 0.
func secondsOf(seconds float64) float64 {
	if finite(seconds) == nil || seconds < 0 {
		return 0
	}
	return seconds
}

// ascending is shards in ascending order, never nil.
func ascending(shards []uint32) []uint32 {
	s := append([]uint32{}, shards...)
	slices.Sort(s)
	return slices.Compact(s)
}
