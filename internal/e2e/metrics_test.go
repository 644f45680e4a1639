package e2e

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

var httpLine = regexp.MustCompile(`http=(\S+)`)

// at is where a process serves its metrics.
func (p *process) at() string {
	p.t.Helper()
	p.say("metrics and probes")
	return "http://" + httpLine.FindStringSubmatch(p.stderr())[1]
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(text)
}

// scrape reads /metrics as Prometheus does and returns the values of metrics
// that have one, by name.
func scrape(t *testing.T, at string) map[string]float64 {
	t.Helper()
	_, body := get(t, at+"/metrics")
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for name, f := range families {
		if len(f.Metric) == 1 {
			m := f.Metric[0]
			values[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return values
}

// TestBothProgramsServeMetricsAndProbes: a worker without a server is alive and
// not ready, a server without workers is both; after the job the counts are those
// of the job.
func TestBothProgramsServeMetricsAndProbes(t *testing.T) {
	dir, err := os.MkdirTemp("", "muster") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address := "unix://" + filepath.Join(dir, "s")
	probes := func(p *process, healthy, ready int) {
		t.Helper()
		for path, want := range map[string]int{"/healthz": healthy, "/readyz": ready} {
			if got, body := get(t, p.at()+path); got != want {
				t.Errorf("%s %s: %d, want %d: %s", p.name, path, got, want, body)
			}
		}
	}
	w := start(t, "worker", "--server", address, "--data", data, "--threads", "1", "--http", "127.0.0.1:0")
	w.say("waiting for the server")
	probes(w, 200, 503)

	// 5 steps, the last of one image, and 50 test images.
	server := start(t, "paramserver", "--listen", address, "--http", "127.0.0.1:0", "--network", "lenet5", "--batch", "64", "--epochs", "1",
		"--checkpoint-dir", filepath.Join(dir, "job"), "--when-done", "wait")
	server.say("the job is done")
	probes(server, 200, 200)
	got := scrape(t, server.at())
	for name, want := range map[string]float64{
		"muster_build_info": 1, "muster_job_info": 1, "muster_step": 5, "muster_steps_planned": 5, "muster_samples": trainImages,
		"muster_trained_images_total": trainImages, "muster_checkpoint_step": 5, "muster_shards": 8, "muster_shards_unowned": 0, "muster_contributions_repeated_total": 0,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	if got["muster_test_loss"] <= 0 || got["muster_gradient_received_bytes_total"] <= 0 || got["process_start_time_seconds"] == 0 {
		t.Errorf("metrics %v", got)
	}
	if s := w.status(); s != 0 {
		t.Errorf("the worker ended with status %d", s)
	}
	if err := server.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if s := server.status(); s != 0 {
		t.Errorf("a server that waits after its job ended with status %d, want 0", s)
	}
}

// TestWorkerCountsAreServed looks at a worker whose job never ends by itself.
func TestWorkerCountsAreServed(t *testing.T) {
	dir, err := os.MkdirTemp("", "muster")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address := "unix://" + filepath.Join(dir, "s")
	start(t, "paramserver", "--listen", address, "--http", "off", "--network", "lenet5", "--batch", "64", "--epochs", "1000000", "--checkpoint-dir", filepath.Join(dir, "job"))
	w := start(t, "worker", "--server", address, "--data", data, "--threads", "1", "--http", "127.0.0.1:0")
	reach(t, api(t, address), 6)
	if status, body := get(t, w.at()+"/readyz"); status != 200 {
		t.Errorf("/readyz: %d %s", status, body)
	}
	got := scrape(t, w.at())
	for name, least := range map[string]float64{
		"muster_worker_joined": 1, "muster_worker_owned_shards": 8, "muster_worker_gradients_total": 6, "muster_worker_trained_images_total": trainImages + 64,
		"muster_worker_evaluated_images_total": testImages, "muster_worker_joins_total": 1,
	} {
		if got[name] < least {
			t.Errorf("%s is %v, want at least %v", name, got[name], least)
		}
	}
}
