package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/paramserver"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// The job of TestSameBits: 257 images, so that shard 0 has 33 and the others 32,
// and the last step of an epoch is one image of one shard, the other shards
// having none.
const (
	shards      = 8
	epochs      = 12
	batches     = 5
	trainImages = 257
	testImages  = 50
)

func job() *musterv1.JobSpec {
	return &musterv1.JobSpec{
		Name: "samebits", Network: "lenet5", Activation: "relu", Shards: shards, Batch: 64, Epochs: epochs,
		Seed: 7, LearningRate: 0.02, Momentum: 0.9, WeightDecay: 5e-4, Schedule: "discexp:0.5,200", Augment: "pad-crop,flip",
	}
}

// serverFlags are the same job on a command line.
func serverFlags(dir string) []string {
	return []string{
		"--job", "samebits", "--network", "lenet5", "--shards", strconv.Itoa(shards), "--batch", "64", "--epochs", strconv.Itoa(epochs),
		"--seed", "7", "--lr", "0.02", "--momentum", "0.9", "--weight-decay", "5e-4",
		"--schedule", "discexp:0.5,200", "--augment", "pad-crop,flip", "--checkpoint-dir", dir, "--checkpoint-every", "1steps",
	}
}

// inProcess trains the job within this process.
func inProcess(t *testing.T, job *musterv1.JobSpec, workers, threads int) paramserver.Result {
	t.Helper()
	ctx := context.Background()
	dir := t.TempDir()
	etcd, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(dir, "etcd")}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	cfg := paramserver.DefaultConfig()
	cfg.Job, cfg.CheckpointDir = job, dir
	server, err := paramserver.New(cfg, membership.NewRegistry(etcd.Client(), job.Name, 2*time.Second, cfg.Log))
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	for i := range workers {
		d, err := cpu.New(threads)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		c := worker.DefaultConfig()
		c.ID, c.Data, c.Device = fmt.Sprintf("worker-%d", i), images(), d
		w, err := worker.New(c, local{server.Local()})
		if err != nil {
			t.Fatal(err)
		}
		running.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Errorf("worker %d: %v", i, err)
			}
		})
	}
	result, err := server.Run(ctx)
	running.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// images are those in the directory data.
var images = sync.OnceValue(func() *dataset.Set {
	set, err := dataset.Open(context.Background(), data, dataset.OpenOptions{})
	if err != nil {
		panic(err)
	}
	return set
})

type local struct{ *paramserver.Local }

func (l local) Exchange(ctx context.Context, hello *musterv1.Hello) (worker.Stream, error) {
	return l.Local.Exchange(ctx, hello)
}

// workers starts n worker processes; pinned ones have --shard i/n of the job.
func workers(t *testing.T, address string, n, threads int, pinned bool, more ...string) []*process {
	t.Helper()
	var all []*process
	for i := range n {
		args := append([]string{"--server", address, "--data", data, "--threads", strconv.Itoa(threads)}, more...)
		if pinned {
			args = append(args, "--shard", fmt.Sprintf("%d/%d", i, shards))
		}
		all = append(all, start(t, "worker", args...))
	}
	return all
}

// ended checks that workers end in success once their job has.
func ended(t *testing.T, all []*process) {
	t.Helper()
	for i, w := range all {
		if s := w.status(); s != 0 {
			t.Errorf("worker process %d ended with status %d, want 0", i, s)
		}
	}
}

func TestSameBits(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSameBits starts many processes")
	}
	reference := inProcess(t, job(), 1, 1)
	want := reference.Hash
	t.Logf("reference: one worker, one thread, in process: %s", want)
	if reference.Step != epochs*batches || reference.Samples != epochs*trainImages {
		t.Errorf("ended at step %d after %d images, want %d after %d", reference.Step, reference.Samples, epochs*batches, epochs*trainImages)
	}

	for _, tc := range []struct {
		name string
		run  func(t *testing.T) string
	}{
		{"1 worker of 2 threads in process", func(t *testing.T) string { return inProcess(t, job(), 1, 2).Hash }},
		{"2 workers in process", func(t *testing.T) string { return inProcess(t, job(), 2, 1).Hash }},
		{"3 workers of 2 threads in process", func(t *testing.T) string { return inProcess(t, job(), 3, 2).Hash }},
		{"8 workers in process", func(t *testing.T) string { return inProcess(t, job(), 8, 1).Hash }},
		{"1 process", func(t *testing.T) string { return processes(t, 1, 2, false) }},
		{"2 processes", func(t *testing.T) string { return processes(t, 2, 1, false) }},
		{"3 processes of 2 threads", func(t *testing.T) string { return processes(t, 3, 2, false) }},
		{"8 processes pinned to a shard each", func(t *testing.T) string { return processes(t, 8, 1, true) }},
		{"3 processes, of which two share memory", func(t *testing.T) string { return partlyShared(t) }},
		{"2 processes of a server that shares nothing", func(t *testing.T) string { return processes(t, 2, 1, false, "--shared-memory=false") }},
		{"muster train", func(t *testing.T) string { return train(t) }},
		{"muster train --workers 3", func(t *testing.T) string { return train(t, "--workers", "3") }},
		{"a worker started before its server", early},
		{"a worker killed in mid-epoch", func(t *testing.T) string { return workerKilled(t) }},
		{"a pinned worker killed in mid-epoch and started again", pinnedKilled},
		{"the server killed in mid-epoch and started again", func(t *testing.T) string { return serverKilled(t, epochs*batches) }},
		{"muster train interrupted in mid-epoch and given again", func(t *testing.T) string { return interrupted(t) }},
		{"an etcd of its own", externalEtcd},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.run(t); got != want {
				t.Errorf("parameters sha256:%s, want %s", got, want)
			}
		})
	}
}

func train(t *testing.T, more ...string) string {
	dir := t.TempDir()
	return start(t, "muster", append(append([]string{"train", "--data", data}, serverFlags(dir)...), more...)...).hash()
}

// processes trains with n worker processes, and more flags of the server.
func processes(t *testing.T, n, threads int, pinned bool, more ...string) string {
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	server := start(t, "paramserver", append(append(serverFlags(dir), "--listen", address), more...)...)
	all := workers(t, address, n, threads, pinned)
	hash := server.hash()
	ended(t, all)
	return hash
}

// partlyShared has workers whose gradients come to the server by memory and by
// stream, and checks that they do.
func partlyShared(t *testing.T, more ...string) string {
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	server := start(t, "paramserver", append(append(serverFlags(dir), "--listen", address), more...)...)
	all := append(workers(t, address, 1, 1, false, "--shard", "0/8"), workers(t, address, 1, 1, false, "--shard", "1/8", "--shared-memory=false")...)
	client := api(t, address)
	for seen := ""; seen != "memory stream"; { // which wait for a worker of the other shards
		var transports []string
		for _, w := range reach(t, client, 0).Workers {
			transports = append(transports, w.Transport)
		}
		slices.Sort(transports)
		seen = strings.Join(transports, " ")
		if seen == "stream stream" {
			t.Skip("TestSameBits needs memory that processes can share for this case")
		}
	}
	all = append(all, workers(t, address, 1, 1, false)...)
	hash := server.hash()
	ended(t, all)
	return hash
}

func early(t *testing.T) string {
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	all := workers(t, address, 1, 1, false)
	all[0].say("waiting for the server")
	server := start(t, "paramserver", append(serverFlags(dir), "--listen", address)...)
	hash := server.hash()
	ended(t, all)
	return hash
}

// workerKilled kills a worker without which the job can't go on, so that it is
// sure to be in the midst of it; another takes its shard over.
func workerKilled(t *testing.T, more ...string) string {
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	server := start(t, "paramserver", append(append(serverFlags(dir), "--listen", address, "--shard-timeout", "5s"), more...)...)
	server.say("parameter server ready")
	victim := start(t, "worker", "--server", address, "--data", data, "--threads", "1", "--shard", fmt.Sprintf("0/%d", shards))
	victim.say("joined")
	all := workers(t, address, 1, 1, false)
	reach(t, api(t, address), 3)
	victim.kill()
	server.say("worker lost")
	hash := server.hash()
	ended(t, all)
	return hash
}

func pinnedKilled(t *testing.T) string {
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	server := start(t, "paramserver", append(serverFlags(dir), "--listen", address)...)
	all := workers(t, address, shards, 1, true)
	server.say("parameter server ready")
	reach(t, api(t, address), 2)
	all[0].kill()
	server.say("worker lost")
	all[0] = start(t, "worker", "--server", address, "--data", data, "--threads", "1", "--shard", fmt.Sprintf("0/%d", shards))
	hash := server.hash()
	ended(t, all)
	return hash
}

func interrupted(t *testing.T, more ...string) string {
	dir := t.TempDir()
	args := append(append([]string{"train", "--data", data}, serverFlags(dir)...), more...)
	first := start(t, "muster", args...)
	first.say("step=1 ") // 59 steps and twelve evaluations are still to come
	if err := first.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if s := first.status(); s != 3 || !strings.Contains(first.stderr(), "goes on from it") {
		t.Errorf("an interrupted job ended with status %d, want 3 and how to go on", s)
	}
	again := start(t, "muster", args...)
	hash := again.hash()
	if !strings.Contains(again.stderr(), "resumed") {
		t.Error("the second run began anew")
	}
	return hash
}

// externalEtcd trains over an etcd process, in which the worker finds the server.
func externalEtcd(t *testing.T) string {
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("TestSameBits/an_etcd_of_its_own needs an etcd binary in PATH")
	}
	dir := t.TempDir()
	client, peer := freeAddress(t), freeAddress(t)
	etcd := exec.Command(binary, "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default="+peer)
	if err := etcd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = etcd.Process.Kill(); _ = etcd.Wait() })
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for {
		cli, err := membership.Connect(ctx, []string{client}, slog.New(slog.DiscardHandler))
		if err == nil {
			cli.Close()
			break
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	server := start(t, "paramserver", append(serverFlags(dir), "--etcd", client, "--listen", "127.0.0.1:0")...)
	var all []*process
	for range 2 {
		all = append(all, start(t, "worker", "--etcd", client, "--job", "samebits", "--data", data, "--threads", "1"))
	}
	hash := server.hash()
	ended(t, all)
	return hash
}

// freeAddress is a URL on this machine that nobody listens on at the moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return "http://" + l.Addr().String()
}

// serverKilled kills the server of a job of so many steps.
func serverKilled(t *testing.T, steps int, more ...string) string {
	dir := t.TempDir()
	address := "unix://" + filepath.Join(dir, "s")
	flags := append(append(serverFlags(dir), "--listen", address), more...)
	server := start(t, "paramserver", flags...)
	all := workers(t, address, 2, 1, false)
	server.say("parameter server ready")
	reach(t, api(t, address), 4)
	server.kill()
	server = start(t, "paramserver", append(flags, "--resume", "auto")...)
	hash := server.hash()
	if at := regexp.MustCompile(`msg=resumed .*step=(\d+)`).FindStringSubmatch(server.stderr()); at == nil || at[1] == strconv.Itoa(steps) {
		t.Errorf("the second server did not go on in the midst of the job: %v", at)
	}
	ended(t, all)
	return hash
}

// Masks of dropout are drawn by seed, step, image and layer, so that they are
// the same wherever an image is computed.
func TestSameBitsWithDropout(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSameBitsWithDropout trains a large network")
	}
	spec := func() *musterv1.JobSpec {
		return &musterv1.JobSpec{
			Name: "dropout", Network: "alexnet", Activation: "relu", Shards: 4, Batch: 8, Epochs: 1, LimitBatches: 3,
			Seed: 5, LearningRate: 0.1, Momentum: 0.9, WeightDecay: 2e-4, Schedule: "constant", Augment: "none",
		}
	}
	want := inProcess(t, spec(), 1, 1).Hash
	for _, tc := range []struct{ workers, threads int }{{1, 2}, {2, 1}, {3, 1}} {
		if got := inProcess(t, spec(), tc.workers, tc.threads).Hash; got != want {
			t.Errorf("%d workers of %d threads: %s, want %s", tc.workers, tc.threads, got, want)
		}
	}
}

// The precision is the job's: all who take part use it, and it gives other bits.
func TestSameBitsWithBfloat16(t *testing.T) {
	spec := func(precision string) *musterv1.JobSpec {
		j := job()
		j.Epochs, j.Precision = 1, precision
		return j
	}
	want := inProcess(t, spec("bf16"), 1, 1).Hash
	for _, tc := range []struct{ workers, threads int }{{1, 3}, {3, 1}} {
		if got := inProcess(t, spec("bf16"), tc.workers, tc.threads).Hash; got != want {
			t.Errorf("%d workers of %d threads: %s, want %s", tc.workers, tc.threads, got, want)
		}
	}
	f32 := inProcess(t, spec(""), 1, 1).Hash
	if f32 == want {
		t.Error("bf16 gives the bits of f32")
	}
	if got := inProcess(t, spec("f32"), 1, 1).Hash; got != f32 {
		t.Errorf("f32 by name: %s, want %s", got, f32)
	}
}

// Encoding bf16 rounds gradients, their sums and what workers know of the parameters,
// whoever has them and however they travel: it has bits of its own, and the same ones
// for every transport and number of workers.
func TestSameBitsWithEncodingBfloat16(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSameBitsWithEncodingBfloat16 starts many processes")
	}
	spec := job()
	spec.Encoding = "bf16"
	want := inProcess(t, spec, 1, 1).Hash
	t.Logf("reference: one worker, one thread, in process: %s", want)
	if got := inProcess(t, job(), 1, 1).Hash; got == want {
		t.Error("bf16 gives the bits of f32")
	}
	bf16 := []string{"--encoding", "bf16"}
	stream := append(bf16, "--shared-memory=false")
	for _, tc := range []struct {
		name string
		run  func(t *testing.T) string
	}{
		{"1 worker of 2 threads in process", func(t *testing.T) string { return inProcess(t, spec, 1, 2).Hash }},
		{"3 workers in process", func(t *testing.T) string { return inProcess(t, spec, 3, 1).Hash }},
		{"1 process, sharing memory", func(t *testing.T) string { return processes(t, 1, 2, false, bf16...) }},
		{"2 processes, sharing memory", func(t *testing.T) string { return processes(t, 2, 1, false, bf16...) }},
		{"3 processes, sharing memory", func(t *testing.T) string { return processes(t, 3, 1, false, bf16...) }},
		{"8 processes pinned to a shard each, sharing memory", func(t *testing.T) string { return processes(t, 8, 1, true, bf16...) }},
		{"1 process", func(t *testing.T) string { return processes(t, 1, 2, false, stream...) }},
		{"2 processes", func(t *testing.T) string { return processes(t, 2, 1, false, stream...) }},
		{"3 processes", func(t *testing.T) string { return processes(t, 3, 1, false, stream...) }},
		{"8 processes pinned to a shard each", func(t *testing.T) string { return processes(t, 8, 1, true, stream...) }},
		{"workers that share memory and others", func(t *testing.T) string { return partlyShared(t, bf16...) }},
		{"muster train", func(t *testing.T) string { return train(t, bf16...) }},
		{"muster train --workers 3", func(t *testing.T) string { return train(t, append(bf16, "--workers", "3")...) }},
		{"muster train interrupted in mid-epoch and given again", func(t *testing.T) string { return interrupted(t, bf16...) }},
		{"a worker killed in mid-epoch", func(t *testing.T) string { return workerKilled(t, stream...) }},
		{"the server killed in mid-epoch and started again, sharing memory", func(t *testing.T) string { return serverKilled(t, epochs*batches, bf16...) }},
		{"the server killed in mid-epoch and started again", func(t *testing.T) string { return serverKilled(t, epochs*batches, stream...) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.run(t); got != want {
				t.Errorf("parameters sha256:%s, want %s", got, want)
			}
		})
	}
}

// Encoding int8 has no bits to compare: it learns what f32 learns, over a stream, where
// gradients are quantized, as well as in place.
func TestEncodingInt8Learns(t *testing.T) {
	if testing.Short() {
		t.Skip("TestEncodingInt8Learns starts processes")
	}
	type result struct {
		Hash   string                  `json:"parameters_sha256"`
		Epochs []checkpoint.EpochScore `json:"epochs"`
	}
	learn := func(more ...string) (r result) {
		t.Helper()
		dir := t.TempDir()
		address := "unix://" + filepath.Join(dir, "s")
		server := start(t, "paramserver", append([]string{
			"--network", "lenet5", "--batch", "64", "--limit-batches", "60", "--epochs", "2", "--lr", "0.01",
			"--checkpoint-dir", dir, "--listen", address, "--json",
		}, more...)...)
		var all []*process
		for range 2 {
			all = append(all, start(t, "worker", "--server", address, "--data", "synthetic", "--threads", "1"))
		}
		if s := server.status(); s != 0 {
			t.Fatalf("the server ended with status %d", s)
		}
		ended(t, all)
		if err := json.Unmarshal(server.out.Bytes(), &r); err != nil || len(r.Epochs) != 2 {
			t.Fatalf("%v: %s", err, &server.out)
		}
		return r
	}
	loss := func(r result) float64 { return float64(r.Epochs[1].TestLoss) }
	f32 := learn()
	if loss(f32) > 0.8*float64(f32.Epochs[0].TestLoss) {
		t.Errorf("with f32 the loss went from %v to %v: the case does not tell", f32.Epochs[0].TestLoss, loss(f32))
	}
	place, stream := learn("--encoding", "int8"), learn("--encoding", "int8", "--shared-memory=false")
	for name, r := range map[string]result{"in place": place, "over a stream": stream} {
		if math.Abs(loss(r)/loss(f32)-1) > 0.1 {
			t.Errorf("%s the loss ends at %v, with f32 at %v", name, loss(r), loss(f32))
		}
	}
	if stream.Hash == place.Hash {
		t.Error("over a stream nothing was quantized")
	}
}

// A server that dies takes its worker processes with it, and leaves nothing
// that would join another job.
func TestWorkersDoNotOutliveMusterTrain(t *testing.T) {
	if testing.Short() {
		t.Skip("TestWorkersDoNotOutliveMusterTrain starts processes")
	}
	args := append([]string{"train", "--data", data, "--workers", "2"}, serverFlags(t.TempDir())...)
	p := start(t, "muster", append(args, "--epochs", "100000", "--log-level", "debug")...)
	p.say("step=1 ")
	p.kill() // returns when standard error has ended: when nobody holds it any more
}
