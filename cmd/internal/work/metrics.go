package work

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/muster-train/muster/worker"
)

// value is one of a worker's metrics. docs/metrics.md lists them.
type value struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(worker.Counts) float64
}

func gauge(name, help string, of func(worker.Counts) float64) value {
	return value{prometheus.NewDesc("muster_worker_"+name, help, nil, nil), prometheus.GaugeValue, of}
}

func counter(name, help string, of func(worker.Counts) float64) value {
	return value{prometheus.NewDesc("muster_worker_"+name, help, nil, nil), prometheus.CounterValue, of}
}

var values = []value{
	gauge("joined", "1 while the server has taken this worker in.", func(c worker.Counts) float64 {
		if c.Joined {
			return 1
		}
		return 0
	}),
	gauge("step", "Step of the newest piece of work.", func(c worker.Counts) float64 { return float64(c.Step) }),
	gauge("owned_shards", "Shards that this worker owns.", func(c worker.Counts) float64 { return float64(c.Shards) }),
	counter("joins_total", "Streams over which the server has taken this worker in; more than 1: it had to join again.", func(c worker.Counts) float64 { return float64(c.Joins) }),
	counter("gradients_total", "Pieces of work whose gradients were computed, of however many shards.", func(c worker.Counts) float64 { return float64(c.Gradients) }),
	counter("trained_images_total", "Images whose gradients were computed; its rate is this worker's throughput.", func(c worker.Counts) float64 { return float64(c.Images) }),
	counter("evaluated_images_total", "Test images evaluated.", func(c worker.Counts) float64 { return float64(c.Evaluated) }),
	counter("gradient_seconds_total", "Time spent computing gradients, the wait for images included.", func(c worker.Counts) float64 { return c.GradientTime.Seconds() }),
	counter("evaluation_seconds_total", "Time spent evaluating.", func(c worker.Counts) float64 { return c.EvaluationTime.Seconds() }),
	counter("gradient_sent_bytes_total", "Payload of gradients sent.", func(c worker.Counts) float64 { return float64(c.SentBytes) }),
	counter("parameter_received_bytes_total", "Payload of parameters received.", func(c worker.Counts) float64 { return float64(c.ReceivedBytes) }),
	counter("contributions_refused_total", "Contributions that the server refused.", func(c worker.Counts) float64 { return float64(c.Refusals) }),
}

// meterCollector makes metrics of a worker's counts.
type meterCollector struct{ meter *worker.Meter }

// Describe names all metrics.
func (meterCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range values {
		ch <- v.desc
	}
}

// Collect reads the counts once.
func (c meterCollector) Collect(ch chan<- prometheus.Metric) {
	counts := c.meter.Counts()
	for _, v := range values {
		ch <- prometheus.MustNewConstMetric(v.desc, v.kind, v.of(counts))
	}
}

// alive is the probe of /healthz: a process that answers is alive. A worker that
// waits for its server is in good health.
func alive(context.Context) error { return nil }

// joined is the probe of /readyz.
func (c meterCollector) joined(context.Context) error {
	if !c.meter.Counts().Joined {
		return errors.New("no server has taken this worker in")
	}
	return nil
}
