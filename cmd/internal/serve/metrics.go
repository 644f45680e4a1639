package serve

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// statusTimeout is how long the server's loop may take to answer a collection.
const statusTimeout = 5 * time.Second

// phases are all that StatusResponse.phase may say.
var phases = []string{"waiting", "training", "evaluating", "done", "stopped", "failed"}

// value is a metric without labels; NaN: there is none at present.
type value struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*musterv1.StatusResponse) float64
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("muster_"+name, help, labels, nil)
}

func gauge(name, help string, of func(*musterv1.StatusResponse) float64) value {
	return value{describe(name, help), prometheus.GaugeValue, of}
}

func counter(name, help string, of func(*musterv1.StatusResponse) float64) value {
	return value{describe(name, help), prometheus.CounterValue, of}
}

// values are the server's metrics without labels. docs/metrics.md lists them.
var values = []value{
	gauge("step", "Updates applied to the parameters.", func(r *musterv1.StatusResponse) float64 { return float64(r.Step) }),
	gauge("steps_planned", "Updates that the whole job takes; absent until the first worker has joined.", func(r *musterv1.StatusResponse) float64 {
		return known(r.TotalSteps > 0, float64(r.TotalSteps))
	}),
	gauge("resumed_step", "Step at which this process took the job up.", func(r *musterv1.StatusResponse) float64 { return float64(r.ResumedStep) }),
	gauge("samples", "Images whose gradients have been applied since the job began.", func(r *musterv1.StatusResponse) float64 { return float64(r.Samples) }),
	gauge("epoch", "Epoch in progress, from 0.", func(r *musterv1.StatusResponse) float64 { return float64(r.Epoch) }),
	gauge("learning_rate", "Learning rate of the newest step.", func(r *musterv1.StatusResponse) float64 { return r.LearningRate }),
	gauge("train_loss", "Mean cross-entropy over the newest step's images; absent before the first step of this process.", func(r *musterv1.StatusResponse) float64 {
		return known(r.GetSplit().GetImages() > 0, r.Loss)
	}),
	gauge("train_accuracy_ratio", "Share of the newest step's images that were classified rightly, 0 to 1.", func(r *musterv1.StatusResponse) float64 {
		return known(r.GetSplit().GetImages() > 0, r.Accuracy)
	}),
	gauge("test_loss", "Mean cross-entropy over the test images at the newest evaluation; absent before the first.", func(r *musterv1.StatusResponse) float64 {
		return known(r.Last != nil, r.GetLast().GetLoss())
	}),
	gauge("test_top1_ratio", "Share of the test images whose class came first at the newest evaluation, 0 to 1.", func(r *musterv1.StatusResponse) float64 {
		return known(r.Last != nil, r.GetLast().GetTop1())
	}),
	gauge("test_top5_ratio", "Share of the test images whose class was among the first five at the newest evaluation, 0 to 1.", func(r *musterv1.StatusResponse) float64 {
		return known(r.Last != nil, r.GetLast().GetTop5())
	}),
	gauge("best_top1_ratio", "Best muster_test_top1_ratio so far.", func(r *musterv1.StatusResponse) float64 { return known(r.Best != nil, r.GetBest().GetTop1()) }),
	gauge("remaining_seconds", "Time until the job is done, at the present speed; absent while it can't be told.", func(r *musterv1.StatusResponse) float64 {
		return known(r.RemainingSeconds > 0, r.RemainingSeconds)
	}),
	gauge("checkpoint_step", "Step of the newest checkpoint; absent before the first.", func(r *musterv1.StatusResponse) float64 {
		return known(r.Checkpoint != "", float64(r.CheckpointStep))
	}),
	gauge("staleness_mean_updates", "Updates that others made to parameters between their reading and the gradient that came of them, the mean in this process's life; absent with --sync sync.", func(r *musterv1.StatusResponse) float64 {
		return known(r.Staleness != nil, r.GetStaleness().GetMean())
	}),
	gauge("staleness_max_updates", "The most of what muster_staleness_mean_updates is the mean of.", func(r *musterv1.StatusResponse) float64 {
		return known(r.Staleness != nil, float64(r.GetStaleness().GetMax()))
	}),
	gauge("steps_ahead", "Steps that a worker was ahead of the slowest shard, at most in this process's life; absent with --sync sync.", func(r *musterv1.StatusResponse) float64 {
		return known(r.Staleness != nil, float64(r.GetStaleness().GetStepsAhead()))
	}),
	gauge("shards", "Shards of the job.", func(r *musterv1.StatusResponse) float64 { return float64(r.GetJob().GetShards()) }),
	gauge("shards_unowned", "Shards that no worker owns; the job waits for them.", func(r *musterv1.StatusResponse) float64 { return float64(len(r.UnownedShards)) }),
	counter("trained_images_total", "Images whose gradients this process has applied; its rate is the throughput.", func(r *musterv1.StatusResponse) float64 { return float64(r.GetSplit().GetImages()) }),
	counter("contributions_repeated_total", "Contributions that came again and were dropped.", func(r *musterv1.StatusResponse) float64 { return float64(r.RepeatedContributions) }),
	counter("gradient_received_bytes_total", "Payload of gradients received.", func(r *musterv1.StatusResponse) float64 { return float64(r.GradientBytes) }),
	gauge("parts_connected", "Servers of the job's parts that are there, this one among them; absent in a job of one part.", func(r *musterv1.StatusResponse) float64 {
		there := 0
		for _, p := range r.Parts {
			if p.Address != "" {
				there++
			}
		}
		return known(len(r.Parts) > 0, float64(there))
	}),
	counter("parameter_sent_bytes_total", "Payload of parameters sent.", func(r *musterv1.StatusResponse) float64 { return float64(r.ParameterBytes) }),
}

// known is x, or NaN where it is not known.
func known(yes bool, x float64) float64 {
	if yes {
		return x
	}
	return math.NaN()
}

// Metrics with labels.
var (
	jobInfo        = describe("job_info", "1; the job that is trained.", "job", "network", "job_hash", "synthetic")
	phase          = describe("phase", "1 for what the job is doing: waiting, training, evaluating, done, stopped or failed; 0 for the rest.", "phase")
	timeSpent      = describe("time_seconds_total", "Where this process's time went: compute (the mean over workers), exchange (transport, sums, update), wait (for the slowest worker, or for a shard without one), evaluate.", "part")
	refusedTotal   = describe("contributions_refused_total", "Contributions that did not count: not_finite (NaN or infinite values) or malformed (size, checksum or name).", "reason")
	workers        = describe("workers", "Workers that have joined, by state: connected, hung (connected, and silent for longer than --worker-timeout while their work is awaited), or lost and within their grace.", "state")
	workerShards   = describe("worker_shards", "Shards that a worker owns.", "worker")
	workerImages   = describe("worker_images_total", "Images whose gradients a worker has computed for this process.", "worker")
	workerComputes = describe("worker_compute_seconds", "Time that a worker took to compute its part of the newest step.", "worker")
	workerSpeed    = describe("worker_relative_speed_ratio", "How fast a worker has computed an image in the newest steps, as a multiple of the median over the workers; absent where it isn't known.", "worker")
	workerSlow     = describe("worker_straggler", "1 while a worker is persistently slower than others, else 0.", "worker")
)

// statusCollector makes metrics of a server's status.
type statusCollector struct {
	status func(context.Context) (*musterv1.StatusResponse, error)
}

// Describe names all metrics.
func (statusCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range values {
		ch <- v.desc
	}
	for _, d := range []*prometheus.Desc{jobInfo, phase, timeSpent, refusedTotal, workers, workerShards, workerImages, workerComputes, workerSpeed, workerSlow} {
		ch <- d
	}
}

// Collect asks for the status once.
func (c statusCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	r, err := c.status(ctx)
	if errors.Is(err, errNotYet) {
		return
	}
	if err != nil {
		ch <- prometheus.NewInvalidMetric(jobInfo, err)
		return
	}
	put := func(d *prometheus.Desc, kind prometheus.ValueType, x float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, kind, x, labels...)
	}
	for _, v := range values {
		if x := v.of(r); !math.IsNaN(x) {
			put(v.desc, v.kind, x)
		}
	}
	synthetic := "" // not known before a worker has brought the images
	if r.TotalSteps > 0 {
		synthetic = strconv.FormatBool(r.Synthetic)
	}
	put(jobInfo, prometheus.GaugeValue, 1, r.GetJob().GetName(), r.GetJob().GetNetwork(), r.JobHash, synthetic)
	for _, p := range phases {
		put(phase, prometheus.GaugeValue, one(p == r.Phase), p)
	}
	split := r.GetSplit()
	put(timeSpent, prometheus.CounterValue, split.GetComputeSeconds(), "compute")
	put(timeSpent, prometheus.CounterValue, split.GetExchangeSeconds(), "exchange")
	put(timeSpent, prometheus.CounterValue, split.GetWaitSeconds(), "wait")
	put(timeSpent, prometheus.CounterValue, split.GetEvaluateSeconds(), "evaluate")
	put(refusedTotal, prometheus.CounterValue, float64(r.RefusedNotFinite), "not_finite")
	put(refusedTotal, prometheus.CounterValue, float64(r.RefusedMalformed), "malformed")
	connected, hung := 0, 0
	for _, w := range r.Workers {
		switch {
		case w.Hung:
			hung++
		case w.Connected:
			connected++
		}
		put(workerShards, prometheus.GaugeValue, float64(len(w.Shards)), w.Worker)
		put(workerImages, prometheus.CounterValue, float64(w.Images), w.Worker)
		put(workerComputes, prometheus.GaugeValue, w.ComputeSeconds, w.Worker)
		if w.RelativeSpeed > 0 {
			put(workerSpeed, prometheus.GaugeValue, w.RelativeSpeed, w.Worker)
		}
		put(workerSlow, prometheus.GaugeValue, one(w.Straggler), w.Worker)
	}
	put(workers, prometheus.GaugeValue, float64(connected), "connected")
	put(workers, prometheus.GaugeValue, float64(hung), "hung")
	put(workers, prometheus.GaugeValue, float64(len(r.Workers)-connected-hung), "lost")
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
