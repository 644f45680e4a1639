package deploy

import (
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// small is base with a job of a small network and five steps an epoch.
func small(t *testing.T, epochs string, more ...edit) *manifests {
	t.Helper()
	return built(t, "base", append([]edit{
		{fileConfig, "network: alexnet", "network: lenet5\nlr: 0.02\nlimit-batches: 5"},
		{fileConfig, "batch: 128", "batch: 64"},
		{fileConfig, "epochs: 10", "epochs: " + epochs},
	}, more...)...)
}

// smallCluster is one for it, with some images in place of a download.
func smallCluster(t *testing.T, epochs string) *cluster {
	t.Helper()
	c := newCluster(t, small(t, epochs))
	c.images = t.TempDir()
	if err := writeImages(c.images, 257, 50); err != nil {
		t.Fatal(err)
	}
	return c
}

// hashLine is a program's result.
var hashLine = regexp.MustCompile(`(?m)^parameters sha256:([0-9a-f]{64})$`)

// train is the hash that one process comes to with the same job.yaml and images.
func train(t *testing.T, m *manifests, more ...string) string {
	t.Helper()
	dir, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	server := m.workloads()[0]
	config, err := server.need("config")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), path.Base(config))
	if err := os.WriteFile(file, []byte(m.config.Data[path.Base(config)]), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(dir, "muster"), append([]string{"train", "--config", file, "--checkpoint-dir", filepath.Join(t.TempDir(), "job")}, more...)...)
	out, err := cmd.CombinedOutput()
	hash := hashLine.FindSubmatch(out)
	if err != nil || hash == nil {
		t.Fatalf("muster train: %v\n%s", err, out)
	}
	return string(hash[1])
}

// TestPodsTrainTheSameBits runs base's nine pods as processes, with a smaller
// job. Two workers end before their time, as pods do: one is killed, one is told
// to stop; the Job starts each again.
func TestPodsTrainTheSameBits(t *testing.T) {
	if testing.Short() {
		t.Skip("TestPodsTrainTheSameBits starts many processes")
	}
	c := smallCluster(t, "20")

	// The server is ready before any worker is there, or the service would never
	// lead one to it; a worker is once it has joined.
	server, http := c.startServer()
	for _, at := range []string{"/healthz", "/readyz"} {
		if status, body, err := probe(http, at); err != nil || status != 200 {
			t.Errorf("GET %s of a server without workers: %d %q, %v", at, status, body, err)
		}
	}
	misled := c.startWorker(0, func(p *pod) { p.set("shard", "0/4") })
	if s := misled.status(); s != statusUsage {
		t.Errorf("a worker of a job of 4 shards ended with status %d, want %d, by which the Job fails", s, statusUsage)
	}
	first := c.startWorker(0)
	at := first.says(httpLine)
	probed(t, at, "/healthz", 200)
	probed(t, at, "/readyz", 200)
	if metrics := probed(t, at, "/metrics", 200); !strings.Contains(metrics, "muster_worker_") {
		t.Errorf("a worker's metrics: %s", metrics)
	}
	workers := []*process{first}
	for i := 1; i < int(*c.m.workers.Spec.Completions); i++ {
		workers = append(workers, c.startWorker(i))
	}

	// The job needs all eight, so from now on it waits.
	c.reach(2)
	workers[3].kill()
	server.says(regexp.MustCompile("worker lost"))
	workers[5].end(statusStopped) // which the Job overlooks
	workers[3], workers[5] = c.startWorker(3), c.startWorker(5)
	c.complete(workers)

	// The server says what came of it, and stays.
	got := server.says(hashLine)
	if !server.running() {
		t.Fatal("the server ended with its job")
	}
	for _, at := range []string{"/healthz", "/readyz"} {
		if status, body, err := probe(http, at); err != nil || status != 200 {
			t.Errorf("GET %s once the job is done: %d %q, %v", at, status, body, err)
		}
	}
	if _, metrics, err := probe(http, "/metrics"); err != nil || !strings.Contains(metrics, "muster_step 100\n") {
		t.Errorf("the server's metrics, %v: %s", err, metrics)
	}
	server.end(0)
	if n := len(hashLine.FindAllString(server.output(), -1)); n != 1 {
		t.Errorf("the server printed %d hashes", n)
	}
	if want := train(t, c.m, "--data", c.images); got != want {
		t.Errorf("parameters sha256:%s, muster train comes to %s", got, want)
	}
}

// TestVolumeKeepsTheJob replaces the server's pod, on the same claim: by one of
// the same job, of the same job for longer, and of another one.
func TestVolumeKeepsTheJob(t *testing.T) {
	if testing.Short() {
		t.Skip("TestVolumeKeepsTheJob starts many processes")
	}
	c := smallCluster(t, "1")
	server, _ := c.startServer()
	c.complete(c.startWorkers())
	first := server.says(hashLine)
	server.end(0)

	// The same: a worker that comes late hears that there is nothing to do.
	server, _ = c.startServer()
	if got := server.says(hashLine); got != first {
		t.Errorf("the pod that came after has parameters sha256:%s, want %s", got, first)
	}
	c.complete([]*process{c.startWorker(7)})
	server.end(0)
	if kept, err := filepath.Glob(filepath.Join(c.claim, "job", "*.ckpt")); err != nil || len(kept) == 0 {
		t.Errorf("no checkpoint on the claim: %v", err)
	}

	// For longer: it goes on.
	c.m = small(t, "2")
	server, _ = c.startServer()
	server.says(regexp.MustCompile("msg=resumed.* step=5\n"))
	c.complete(c.startWorkers())
	if got, want := server.says(hashLine), train(t, c.m, "--data", c.images); got != want {
		t.Errorf("for an epoch more: parameters sha256:%s, muster train comes to %s", got, want)
	}
	server.end(0)

	// Another: its checkpoints are refused, and stay.
	c.m = small(t, "2", edit{fileConfig, "seed: 1", "seed: 2"})
	refused := c.serverPod().start(t)
	if s := refused.status(); s != statusUsage || !strings.Contains(refused.output(), "is of another job") {
		t.Errorf("a server of another job ended with status %d, want %d and why", s, statusUsage)
	}
}

// TestStoppedServerGoesOn is a pod that is moved to another node in the midst of
// its job.
func TestStoppedServerGoesOn(t *testing.T) {
	if testing.Short() {
		t.Skip("TestStoppedServerGoesOn starts several processes")
	}
	c := newCluster(t, built(t, "overlays/local", edit{fileLocalConfig, "epochs: 1", "epochs: 8\nlimit-batches: 5"}))
	server, _ := c.startServer()
	workers := c.startWorkers()
	c.reach(3)
	server.end(statusStopped)
	if !strings.Contains(server.output(), "the same command goes on from it") {
		t.Error("a server that was stopped does not say how to go on")
	}
	again, _ := c.startServer()
	again.says(regexp.MustCompile("msg=resumed"))
	c.complete(workers)
	got := again.says(hashLine)
	if want := train(t, c.m, "--data", "synthetic"); got != want {
		t.Errorf("parameters sha256:%s, muster train comes to %s", got, want)
	}
}

// TestLocalOverlayEndsAsTheReadmeSays runs it as it is: its job is the README's.
func TestLocalOverlayEndsAsTheReadmeSays(t *testing.T) {
	if testing.Short() {
		t.Skip("TestLocalOverlayEndsAsTheReadmeSays trains for an epoch")
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := hashLine.FindSubmatch(readme)
	if want == nil {
		t.Fatal("README.md shows no hash")
	}
	c := newCluster(t, built(t, "overlays/local"))
	server, _ := c.startServer()
	c.complete(c.startWorkers())
	if got := server.says(hashLine); got != string(want[1]) {
		t.Errorf("parameters sha256:%s, README.md shows %s", got, want[1])
	}
}
