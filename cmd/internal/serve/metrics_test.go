package serve

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/muster-train/muster/cmd/internal/monitor/monitortest"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// training is the status of a job that has everything to tell.
func training() *musterv1.StatusResponse {
	return &musterv1.StatusResponse{
		Job: &musterv1.JobSpec{Name: "j", Network: "lenet5", Shards: 4}, JobHash: "f00d", Synthetic: true, Phase: "training",
		Step: 30, TotalSteps: 100, ResumedStep: 10, Samples: 3840, Epoch: 1, LearningRate: 0.5, Loss: 1.5, Accuracy: 0.25, RemainingSeconds: 60,
		Staleness: &musterv1.Staleness{Mean: 1.5, Max: 4, StepsAhead: 2},
		Last:      &musterv1.Score{Loss: 2, Top1: 0.5, Top5: 0.75}, Best: &musterv1.Score{Top1: 0.625}, Checkpoint: "x", CheckpointStep: 20,
		UnownedShards: []uint32{3}, RepeatedContributions: 1, RefusedNotFinite: 2, RefusedMalformed: 3, GradientBytes: 4, ParameterBytes: 5,
		Parts: []*musterv1.PartStatus{{Address: "here"}, {}},
		Split: &musterv1.TimeSplit{ComputeSeconds: 6, ExchangeSeconds: 7, WaitSeconds: 8, EvaluateSeconds: 9, Images: 2560},
		Workers: []*musterv1.WorkerStatus{
			{Worker: "a", Shards: []uint32{0, 1}, Connected: true, ComputeSeconds: 0.5, Images: 100, RelativeSpeed: 0.25, Straggler: true},
			{Worker: "b", Shards: []uint32{2}, Images: 50},
			{Worker: "c", Connected: true, Hung: true},
		},
	}
}

func collector(r *musterv1.StatusResponse, err error) statusCollector {
	return statusCollector{func(context.Context) (*musterv1.StatusResponse, error) { return r, err }}
}

func TestMetricsAreDocumented(t *testing.T) {
	monitortest.Documented(t, collector(training(), nil), "../../../docs/metrics.md", "Parameter server")
}

func TestMetricsSayWhatStatusSays(t *testing.T) {
	want, err := os.Open(filepath.Join("testdata", "metrics.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	if err := testutil.CollectAndCompare(collector(training(), nil), want); err != nil {
		t.Error(err)
	}
}

// TestMetricsThatAreNotKnownAreAbsent: a job that waits for its first worker
// has no loss, and a loss of 0 would be a lie.
func TestMetricsThatAreNotKnownAreAbsent(t *testing.T) {
	c := collector(&musterv1.StatusResponse{Job: &musterv1.JobSpec{Shards: 4}, Phase: "waiting", UnownedShards: []uint32{0, 1, 2, 3}}, nil)
	for name, count := range map[string]int{
		"muster_step": 1, "muster_phase": len(phases), "muster_shards_unowned": 1, "muster_workers": 3,
		"muster_staleness_mean_updates": 0, "muster_staleness_max_updates": 0, "muster_steps_ahead": 0,
		"muster_steps_planned": 0, "muster_train_loss": 0, "muster_train_accuracy_ratio": 0, "muster_test_loss": 0, "muster_test_top1_ratio": 0,
		"muster_test_top5_ratio": 0, "muster_best_top1_ratio": 0, "muster_remaining_seconds": 0, "muster_checkpoint_step": 0, "muster_worker_shards": 0, "muster_worker_relative_speed_ratio": 0,
	} {
		if got := testutil.CollectAndCount(c, name); got != count {
			t.Errorf("%d of %s, want %d", got, name, count)
		}
	}
	// A loss that has become NaN is a fact, but not a number that can be compared.
	r := training()
	r.Loss = math.NaN()
	if got := testutil.CollectAndCount(collector(r, nil), "muster_train_loss"); got != 0 {
		t.Errorf("%d of a loss that is NaN", got)
	}
}

func TestServerThatDoesNotAnswerCostsItsMetricsAlone(t *testing.T) {
	r := prometheus.NewRegistry()
	r.MustRegister(collector(nil, errors.New("the loop hangs")), prometheus.NewGauge(prometheus.GaugeOpts{Name: "other", Help: "Another."}))
	families, err := r.Gather()
	if err == nil || !strings.Contains(err.Error(), "the loop hangs") || len(families) != 1 {
		t.Errorf("%d families, %v", len(families), err)
	}
}

// TestPhasesAreThoseOfTheServer looks for each in the server's source, where it
// is a word: one that is renamed there is found here.
func TestPhasesAreThoseOfTheServer(t *testing.T) {
	server := ""
	for _, name := range []string{"server.go", "end.go", "status.go"} {
		text, err := os.ReadFile(filepath.Join("../../../paramserver", name))
		if err != nil {
			t.Fatal(err)
		}
		server += string(text)
	}
	for _, p := range phases {
		if !strings.Contains(server, `"`+p+`"`) {
			t.Errorf("no job is ever %q", p)
		}
	}
}
