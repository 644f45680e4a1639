package work

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/muster-train/muster/cmd/internal/monitor/monitortest"
	"github.com/muster-train/muster/worker"
)

func TestMetricsAreDocumented(t *testing.T) {
	monitortest.Documented(t, meterCollector{&worker.Meter{}}, "../../../docs/metrics.md", "Worker")
}

// TestEachMetricHasACountOfItsOwn finds two that read the same one.
func TestEachMetricHasACountOfItsOwn(t *testing.T) {
	c := worker.Counts{
		Joined: true, Step: 2, Shards: 3, Joins: 4, Gradients: 5, Images: 6, Evaluated: 7, GradientTime: 8 * time.Second,
		EvaluationTime: 9 * time.Second, SentBytes: 10, ReceivedBytes: 11, Refusals: 12,
	}
	for i, v := range values {
		if got := v.of(c); got != float64(i+1) {
			t.Errorf("%v is %v, want %d", v.desc, got, i+1)
		}
	}
	if values[0].of(worker.Counts{}) != 0 {
		t.Error("a worker that hasn't joined counts as joined")
	}
}

func TestWorkerIsReadyOnceItHasJoined(t *testing.T) {
	c := meterCollector{&worker.Meter{}}
	if err := alive(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.joined(t.Context()); err == nil {
		t.Error("ready before any server has taken it in")
	}
	if n := testutil.CollectAndCount(c); n != len(values) {
		t.Errorf("%d metrics, want %d", n, len(values))
	}
}
