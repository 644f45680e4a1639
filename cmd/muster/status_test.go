package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-train/muster/cmd/internal/settings"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// patience bounds what waits, far beyond what it takes.
const patience = time.Minute

// await receives from c, or ends the test.
func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
	panic("unreachable")
}

func jobSpec() *musterv1.JobSpec {
	return &musterv1.JobSpec{
		Name: "lrn", Network: "alexnet-lrn", Shards: 8, Batch: 128, Epochs: 10, Seed: 1, LearningRate: 0.01, Schedule: "constant",
	}
}

// training is a job in the midst of its second epoch.
func training() *musterv1.StatusResponse {
	return &musterv1.StatusResponse{
		Job: jobSpec(), JobHash: "f00d", Step: 585, TotalSteps: 3900, Samples: 74880, Epoch: 1, Batch: 195, Batches: 390,
		LearningRate: float64(float32(0.01)), Loss: 2.10344, Accuracy: 0.2134, ImagesPerSecond: 512.4, RemainingSeconds: 750.2,
		Phase: "training", Checkpoint: "muster-lrn/step-0000000390.ckpt", CheckpointStep: 390, ResumedStep: 130,
		Last:                  &musterv1.Score{Step: 390, Epoch: 0, Loss: 2.0004, Top1: 0.2871, Top5: 0.8123},
		Best:                  &musterv1.Score{Step: 390, Epoch: 0, Loss: 2.0004, Top1: 0.2871, Top5: 0.8123},
		Split:                 &musterv1.TimeSplit{ComputeSeconds: 90, ExchangeSeconds: 20.04, WaitSeconds: 9.96, EvaluateSeconds: 0.25, Images: 58240},
		RefusedNotFinite:      2,
		RefusedMalformed:      1,
		RepeatedContributions: 1234,
		GradientBytes:         3 << 30,
		ParameterBytes:        1500,
		Workers: []*musterv1.WorkerStatus{
			{Worker: "worker-11-abcdef", Host: "node-1", Device: "cpu/8 avx2", Shards: []uint32{5, 0, 1, 2, 3}, Connected: true, Transport: "memory", ComputeSeconds: 0.1184, Images: 36400, RelativeSpeed: 1},
			{Worker: "worker-7-ghijkl", Host: "node-2", Device: "cpu/16 avx2", Shards: []uint32{4}, Connected: true, Transport: "stream", ComputeSeconds: 1.26, Images: 7280, RelativeSpeed: 0.23, Straggler: true, Pinned: &musterv1.PinnedShard{Index: 4, Count: 8}},
			{Worker: "worker-9-mnopqr", Shards: []uint32{6, 7}, Images: 14560},
		},
	}
}

const trainingText = `job          lrn alexnet-lrn, 8 shards, batch 128, 10 epochs, seed 1, lr 0.01, constant
images       CIFAR-10
phase        training
step         585 of 3,900 (15 %), resumed from step 130
epoch        2 of 10, batch 196 of 390
samples      74,880
newest step  loss 2.1034, accuracy 21.34 %, learning rate 0.01
evaluation   last: accuracy 28.71 %, top-5 81.23 %, loss 2.0004, after epoch 1
             best: accuracy 28.71 %, top-5 81.23 %, loss 2.0004, after epoch 1
throughput   512 images/s, 12m31s left
checkpoint   muster-lrn/step-0000000390.ckpt (step 390, 195 steps ago)
time         compute 75 % (1m30s), exchange 17 % (20.0 s)
             wait 8 % (10.0 s), evaluation 0 % (250 ms)
traffic      received 3.0 GiB of gradients, sent 1.5 KiB of parameters
faults       contributions that did not count: 2 not finite, 1 malformed, 1,234 repeated

worker            host    device       shards  mode        link    compute      speed  images
worker-11-abcdef  node-1  cpu/8 avx2   0-3,5   assigned    memory   118 ms       1.00  36,400
worker-7-ghijkl   node-2  cpu/16 avx2  4       pinned 4/8  stream    1.3 s  slow 0.23   7,280
worker-9-mnopqr   -       -            6-7     assigned    down          -          -  14,560
`

// changed is training, changed.
func changed(change func(*musterv1.StatusResponse)) *musterv1.StatusResponse {
	r := training()
	change(r)
	return r
}

// diverging is a job of which nothing is a number.
func diverging() *musterv1.StatusResponse {
	nan, inf := math.NaN(), math.Inf(1)
	return changed(func(r *musterv1.StatusResponse) {
		r.LearningRate, r.Loss, r.Accuracy, r.ImagesPerSecond, r.RemainingSeconds = inf, nan, nan, inf, nan
		r.Last, r.Best = &musterv1.Score{Loss: inf, Top1: nan, Top5: nan}, &musterv1.Score{Loss: nan, Top1: nan, Top5: inf}
		r.Split = &musterv1.TimeSplit{ComputeSeconds: nan, ExchangeSeconds: inf, WaitSeconds: -1, EvaluateSeconds: nan, Images: 1}
		for _, w := range r.Workers {
			w.ComputeSeconds, w.RelativeSpeed = nan, inf
		}
	})
}

func TestStatusAsText(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   *musterv1.StatusResponse
		want string
	}{
		{"training", training(), trainingText},
		{"waiting for the first worker", &musterv1.StatusResponse{Job: jobSpec(), Phase: "waiting", Split: &musterv1.TimeSplit{}}, `job          lrn alexnet-lrn, 8 shards, batch 128, 10 epochs, seed 1, lr 0.01, constant
images       -
phase        waiting for workers
step         0
epoch        1 of 10
samples      0
newest step  -
evaluation   last: -
             best: -
throughput   -
checkpoint   -
time         compute -, exchange -
             wait -, evaluation -
traffic      received 0 B of gradients, sent 0 B of parameters
faults       none
workers      -
`},
		{"waiting for shards", &musterv1.StatusResponse{
			Job: jobSpec(), Phase: "waiting", TotalSteps: 3900, Batches: 390, UnownedShards: []uint32{7, 0, 1}, Synthetic: true,
			Workers: []*musterv1.WorkerStatus{
				{Worker: "a", Host: "h", Device: "cpu/1", Shards: []uint32{2, 3, 4, 5}, Connected: true, Images: 64},
				{Worker: "b", Host: "h", Device: "cpu/1", Shards: []uint32{6}},
				{Worker: "c", Host: "h", Device: "cpu/1", Connected: true, Pinned: &musterv1.PinnedShard{Index: 6, Count: 8}},
			},
		}, `job          lrn alexnet-lrn, 8 shards, batch 128, 10 epochs, seed 1, lr 0.01, constant
images       synthetic, not CIFAR-10
phase        waiting for workers for shards 0-1,7 of 8, and for b, which owns shard 6
step         0 of 3,900 (0 %)
epoch        1 of 10, batch 1 of 390
samples      0
newest step  -
evaluation   last: -
             best: -
throughput   -
checkpoint   -
time         compute -, exchange -
             wait -, evaluation -
traffic      received 0 B of gradients, sent 0 B of parameters
faults       none

worker  host  device  shards  mode        link  compute  speed  images
a       h     cpu/1   2-5     assigned    up          -      -      64
b       h     cpu/1   6       assigned    down        -      -       0
c       h     cpu/1   -       pinned 6/8  up          -      -       0
`},
		{
			"waiting for more workers", changed(func(r *musterv1.StatusResponse) { r.Phase, r.MinWorkers = "waiting", 3 }),
			strings.Replace(trainingText, "phase        training", "phase        waiting for workers: 2 of the 3 that are needed are there", 1),
		},
		{
			"enough workers, but not for all shards", changed(func(r *musterv1.StatusResponse) { r.Phase, r.MinWorkers = "waiting", 2 }),
			strings.Replace(trainingText, "phase        training", "phase        waiting for worker-9-mnopqr, which owns shards 6-7", 1),
		},
		{"done, workers gone", changed(func(r *musterv1.StatusResponse) {
			r.Phase, r.Step, r.Epoch, r.Batch, r.ResumedStep, r.CheckpointStep, r.RemainingSeconds, r.Workers = "done", 3900, 9, 389, 0, 3900, 0, nil
			r.RefusedNotFinite, r.RefusedMalformed, r.RepeatedContributions = 0, 0, 0
			r.Last = &musterv1.Score{Step: 3900, Epoch: 9, Loss: 1.5, Top1: 0.25, Top5: 0.5}
		}), `job          lrn alexnet-lrn, 8 shards, batch 128, 10 epochs, seed 1, lr 0.01, constant
images       CIFAR-10
phase        done
step         3,900 of 3,900 (100 %)
epoch        10 of 10, batch 390 of 390
samples      74,880
newest step  loss 2.1034, accuracy 21.34 %, learning rate 0.01
evaluation   last: accuracy 25.00 %, top-5 50.00 %, loss 1.5000, after epoch 10
             best: accuracy 28.71 %, top-5 81.23 %, loss 2.0004, after epoch 1
throughput   512 images/s
checkpoint   muster-lrn/step-0000000390.ckpt (step 3,900, the newest step)
time         compute 75 % (1m30s), exchange 17 % (20.0 s)
             wait 8 % (10.0 s), evaluation 0 % (250 ms)
traffic      received 3.0 GiB of gradients, sent 1.5 KiB of parameters
faults       none
workers      -
`},
	} {
		if got := statusOf(tc.in).text(); got != tc.want {
			t.Errorf("%s:\n%s\nwant\n%s", tc.name, got, tc.want)
		}
	}
}

// A worker that hangs is in the table; the job waits for it where it has kept its shards.
func TestStatusTellsWorkersThatHang(t *testing.T) {
	hung := func(phase string, shards ...uint32) *jobStatus {
		return statusOf(changed(func(r *musterv1.StatusResponse) {
			r.Phase, r.Workers[1].Hung, r.Workers[1].Shards = phase, true, shards
		}))
	}
	for want, s := range map[string]*jobStatus{
		"\nphase        training\n": hung("training"),
		"\nphase        waiting for worker-7-ghijkl, which owns shard 4 and hangs, and for worker-9-mnopqr, which owns shards 6-7\n": hung("waiting", 4),
		"\nworker-7-ghijkl   node-2  cpu/16 avx2  -       pinned 4/8  hung      1.3 s  slow 0.23   7,280\n":                          hung("training"),
	} {
		if got := s.text(); !strings.Contains(got, want) {
			t.Errorf("no %q in:\n%s", want, got)
		}
	}
	if line, err := json.Marshal(hung("training")); err != nil || strings.Count(string(line), `"connected":true,"hung":true`) != 1 {
		t.Errorf("%s, %v; want one worker that is connected and hangs", line, err)
	}
}

func TestWhatIsNoNumberIsNotPrintedAsOne(t *testing.T) {
	for name, r := range map[string]*musterv1.StatusResponse{"nothing": {}, "diverged": diverging()} {
		s := statusOf(r)
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.text() + string(line); regexp.MustCompile(`NaN|Inf|[ (:]-\d|\de\+`).MatchString(got) {
			t.Errorf("%s:\n%s", name, got)
		}
	}
	got := statusOf(diverging()).text()
	for _, want := range []string{"newest step  loss not finite\n", "last: loss not finite, after epoch 1\n", "throughput   -\n", "compute -, exchange -\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

func TestStatusTellsStalenessOfRelaxedJobs(t *testing.T) {
	relaxed := func(c *musterv1.Staleness) *musterv1.StatusResponse {
		return changed(func(r *musterv1.StatusResponse) { r.Job.Sync, r.Staleness = "ssp:2", c })
	}
	for row, r := range map[string]*musterv1.StatusResponse{
		"\nstaleness    1.2 updates in the mean, 1,400 at most; 2 steps ahead at most\n": relaxed(&musterv1.Staleness{Mean: 1.25, Max: 1400, StepsAhead: 2}),
		"\nstaleness    0.0 updates in the mean, 0 at most; 1 step ahead at most\n":      relaxed(&musterv1.Staleness{StepsAhead: 1}),
		"\nstaleness    -\n": relaxed(nil),
		"constant, ssp:2\n":  relaxed(nil),
	} {
		if got := statusOf(r).text(); !strings.Contains(got, row) {
			t.Errorf("no %q in:\n%s", row, got)
		}
	}
	got, err := json.Marshal(statusOf(relaxed(&musterv1.Staleness{Mean: 1.25, Max: 3, StepsAhead: 2})))
	if want := `"staleness_mean":1.25,"staleness_max":3,"steps_ahead":2}`; err != nil || !strings.HasSuffix(string(got), want) {
		t.Errorf("%s, %v; want it to end with %s", got, err, want)
	}
}

func TestStatusTellsOfParts(t *testing.T) {
	two := func(second string) *musterv1.StatusResponse {
		return changed(func(r *musterv1.StatusResponse) {
			r.Phase = "waiting"
			r.Parts = []*musterv1.PartStatus{
				{Address: "here", First: 0, End: 41, GradientBytes: 1536, ParameterBytes: 1024},
				{Address: second, First: 41, End: 83, GradientBytes: 2048},
			}
		})
	}
	for _, c := range []struct {
		second, row, waits string
	}{
		{"10.0.0.8:9000", "1/2 10.0.0.8:9000: chunks 42, received 2.0 KiB, sent 0 B", ""},
		{"", "1/2 not there: chunks 42", "waiting for the server of part 1/2, and for"},
	} {
		got := statusOf(two(c.second)).text()
		for _, want := range []string{"0/2 here: chunks 41, received 1.5 KiB, sent 1.0 KiB", c.row, c.waits} {
			if !strings.Contains(got, want) {
				t.Errorf("no %q in:\n%s", want, got)
			}
		}
	}
	got, err := json.Marshal(statusOf(two("")).Parts)
	want := `[{"part":"0/2","address":"here","chunks":41,"received_bytes":1536,"sent_bytes":1024},{"part":"1/2","address":null,"chunks":42,"received_bytes":2048,"sent_bytes":0}]`
	if err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

func TestStatusTellsOfStandbys(t *testing.T) {
	s := statusOf(changed(func(r *musterv1.StatusResponse) {
		r.Term = 7
		r.Standbys = []*musterv1.StandbyStatus{{Server: "server-b", Address: "10.0.0.8:9000", Following: true}, {Server: "server-c", Address: "10.0.0.9:9000"}}
	}))
	for _, row := range []string{"standbys", "server-b at 10.0.0.8:9000: has every step", "server-c at 10.0.0.9:9000: waits for the next step"} {
		if got := s.text(); !strings.Contains(got, row) {
			t.Errorf("no %q in:\n%s", row, got)
		}
	}
	got, err := json.Marshal(s)
	if want := `"term":7,"standbys":[{"server":"server-b","address":"10.0.0.8:9000","following":true},{"server":"server-c","address":"10.0.0.9:9000","following":false}]`; err != nil || !strings.Contains(string(got), want) {
		t.Errorf("%s, %v; want %s in it", got, err, want)
	}
}

func TestStatusAsJSON(t *testing.T) {
	for _, tc := range []struct {
		name string
		in   *musterv1.StatusResponse
		want string
	}{
		{"training", training(), `{"job":"lrn","job_hash":"f00d","network":"alexnet-lrn","shards":8,"batch_size":128,"epochs":10,"seed":1,"synthetic":false,` +
			`"phase":"training","unowned_shards":[],"min_workers":1,"step":585,"total_steps":3900,"resumed_step":130,"epoch":1,"batch":195,"batches":390,"samples":74880,` +
			`"learning_rate":0.01,"loss":2.10344,"accuracy":0.2134,"images_per_second":512.4,"remaining_seconds":750.2,` +
			`"last_evaluation":{"step":390,"epoch":0,"loss":2.0004,"top1":0.2871,"top5":0.8123},"best_evaluation":{"step":390,"epoch":0,"loss":2.0004,"top1":0.2871,"top5":0.8123},` +
			`"checkpoint":"muster-lrn/step-0000000390.ckpt","checkpoint_step":390,"workers":[` +
			`{"worker":"worker-11-abcdef","host":"node-1","device":"cpu/8 avx2","shards":[0,1,2,3,5],"pinned_shard":null,"connected":true,"hung":false,"transport":"memory","compute_seconds":0.1184,"images":36400,"relative_speed":1,"straggler":false},` +
			`{"worker":"worker-7-ghijkl","host":"node-2","device":"cpu/16 avx2","shards":[4],"pinned_shard":4,"connected":true,"hung":false,"transport":"stream","compute_seconds":1.26,"images":7280,"relative_speed":0.23,"straggler":true},` +
			`{"worker":"worker-9-mnopqr","host":"","device":"","shards":[6,7],"pinned_shard":null,"connected":false,"hung":false,"transport":"","compute_seconds":null,"images":14560,"relative_speed":null,"straggler":false}],"parts":[],` +
			`"time":{"compute_seconds":90,"exchange_seconds":20.04,"wait_seconds":9.96,"evaluate_seconds":0.25,"images":58240},"term":0,"standbys":[],` +
			`"refused_not_finite":2,"refused_malformed":1,"repeated_contributions":1234,"received_bytes":3221225472,"sent_bytes":1500,"staleness_mean":null,"staleness_max":null,"steps_ahead":null}`},
		{"nothing", &musterv1.StatusResponse{}, `{"job":"","job_hash":"","network":"","shards":0,"batch_size":0,"epochs":0,"seed":0,"synthetic":null,` +
			`"phase":"","unowned_shards":[],"min_workers":1,"step":0,"total_steps":null,"resumed_step":0,"epoch":0,"batch":0,"batches":null,"samples":0,` +
			`"learning_rate":null,"loss":null,"accuracy":null,"images_per_second":null,"remaining_seconds":null,"last_evaluation":null,"best_evaluation":null,` +
			`"checkpoint":null,"checkpoint_step":null,"workers":[],"parts":[],"time":{"compute_seconds":0,"exchange_seconds":0,"wait_seconds":0,"evaluate_seconds":0,"images":0},"term":0,"standbys":[],` +
			`"refused_not_finite":0,"refused_malformed":0,"repeated_contributions":0,"received_bytes":0,"sent_bytes":0,"staleness_mean":null,"staleness_max":null,"steps_ahead":null}`},
	} {
		got, err := json.Marshal(statusOf(tc.in))
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", tc.name, err, got, tc.want)
		}
	}
	at := statusOf(changed(func(r *musterv1.StatusResponse) {
		r.Phase, r.Step, r.RemainingSeconds, r.LearningRate = "done", 3900, 0, 0
	}))
	if stopped := statusOf(changed(func(r *musterv1.StatusResponse) { r.Phase = "stopped" })); stopped.RemainingSeconds != nil {
		t.Errorf("a job that was stopped takes %v s more", *stopped.RemainingSeconds)
	}
	if at.RemainingSeconds == nil || *at.RemainingSeconds != 0 || at.LearningRate == nil || *at.LearningRate != 0 {
		t.Errorf("after the last step remaining seconds are %v and the rate %v, want 0: both are known", at.RemainingSeconds, at.LearningRate)
	}
}

func TestHelpExplainsEveryFieldOfTheJSON(t *testing.T) {
	help := statusCommand().Long
	for _, typ := range []reflect.Type{reflect.TypeFor[jobStatus](), reflect.TypeFor[scoreStatus](), reflect.TypeFor[workerStatus](), reflect.TypeFor[partStatus](), reflect.TypeFor[standbyStatus](), reflect.TypeFor[timeStatus]()} {
		for i := range typ.NumField() {
			if tag, ok := typ.Field(i).Tag.Lookup("json"); ok && !regexp.MustCompile(`\b`+tag+`\b`).MatchString(help) {
				t.Errorf("the help says nothing of %s, a field of %s", tag, typ.Name())
			}
		}
	}
}

func TestRanges(t *testing.T) {
	for _, tc := range []struct {
		in   []uint32
		want string
	}{
		{nil, "-"},
		{[]uint32{0}, "0"},
		{[]uint32{7}, "7"},
		{[]uint32{0, 1}, "0-1"},
		{[]uint32{0, 1, 2, 3, 5}, "0-3,5"},
		{[]uint32{1, 3, 5}, "1,3,5"},
		{[]uint32{0, 2, 3, 9, 10, 11}, "0,2-3,9-11"},
		{[]uint32{math.MaxUint32 - 1, math.MaxUint32}, "4294967294-4294967295"},
		{ascending([]uint32{3, 1, 2, 2, 0}), "0-3"},
	} {
		if got := ranges(tc.in); got != tc.want {
			t.Errorf("ranges(%v) = %s, want %s", tc.in, got, tc.want)
		}
	}
}

func TestQuantitiesHaveSensibleUnits(t *testing.T) {
	for _, tc := range []struct {
		bytes uint64
		want  string
	}{
		{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"}, {1<<20 - 1, "1.0 MiB"}, {1 << 30, "1.0 GiB"}, {5 << 40, "5.0 TiB"}, {2000 << 40, "2000.0 TiB"},
	} {
		if got := size(tc.bytes); got != tc.want {
			t.Errorf("size(%d) = %s, want %s", tc.bytes, got, tc.want)
		}
	}
	for _, tc := range []struct {
		seconds float64
		want    string
	}{
		{0, "0 ms"},
		{0.0184, "18 ms"},
		{0.9994, "999 ms"},
		{0.9996, "1.0 s"},
		{7.84, "7.8 s"},
		{59.94, "59.9 s"},
		{59.96, "1m00s"},
		{61, "1m01s"},
		{3599.4, "59m59s"},
		{3599.6, "1h00m"},
		{90540, "25h09m"},
		{1e300, "277777777777h46m"},
	} {
		if got := span(tc.seconds); got != tc.want {
			t.Errorf("span(%v) = %s, want %s", tc.seconds, got, tc.want)
		}
	}
	for _, tc := range []struct {
		seconds float64
		want    string
	}{
		{0, "-"}, {0.03, "1 s left"}, {58.2, "59 s left"}, {59.2, "1m00s left"}, {3600, "1h00m left"},
	} {
		if got := (&jobStatus{RemainingSeconds: &tc.seconds}).throughput(); got != tc.want {
			t.Errorf("%v remaining seconds are %s, want %s", tc.seconds, got, tc.want)
		}
	}
	for _, tc := range []struct {
		x    float64
		want string
	}{
		{0.04, "0.0"}, {3.14, "3.1"}, {9.94, "9.9"}, {9.96, "10"}, {512.4, "512"}, {1999.6, "2,000"},
	} {
		if got := decimal(tc.x); got != tc.want {
			t.Errorf("decimal(%v) = %s, want %s", tc.x, got, tc.want)
		}
	}
}

func TestStatusRefuses(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"--watch --interval 0s", "muster: --interval 0s: want a time above 0, such as 2s\n"},
		{"--watch --interval -1s", "muster: --interval -1s: want a time above 0, such as 2s\n"},
		{"--interval 1s", "muster: --interval needs --watch\n"},
		{"--watch --interval 2", "muster: --interval \"2\": wanted is a duration such as 90s or 1h30m\n"},
		{"--timeout 0s", "muster: --timeout 0s: want a time above 0, such as 5s\n"},
		{"--server localhost", "muster: server \"localhost\": want host:port, or unix:///path\n"},
		{"--watch --server unix://s", "muster: server \"unix://s\": want an absolute path, as in unix:///run/muster\n"},
		{"--server a:1 --etcd b:2", "muster: --server and --etcd exclude each other"},
		{"--etcd ftp://a", "muster: connect to etcd: endpoint \"ftp://a\""},
		{"--job a/b", "muster: --job: "},
		{"--log-level loud", "muster: --log-level \"loud\""},
		{"now", "muster: muster status takes no arguments"},
	} {
		status, stdout, stderr := muster(t.Context(), append([]string{"status"}, strings.Fields(tc.args)...)...)
		if status != settings.StatusUsage || stdout != "" || !strings.HasPrefix(stderr, tc.want) {
			t.Errorf("status %s: status %d, printed %q and %q; want %d and %q", tc.args, status, stdout, stderr, settings.StatusUsage, tc.want)
		}
	}
}

// watching runs a watcher in a bubble of synctest, whose clock only moves while
// all wait. ask gets the number of the call, from 0; it returns when ask says so
// or ctx ends.
func watching(t *testing.T, ask func(ctx context.Context, n int, end chan<- ending) (*musterv1.StatusResponse, error)) (shown []time.Duration, log string, err error) {
	t.Helper()
	var out bytes.Buffer
	end := make(chan ending, 1)
	began, n := time.Now(), 0
	w := watcher{
		ask: func(ctx context.Context) (*musterv1.StatusResponse, error) {
			n++
			return ask(ctx, n-1, end)
		},
		ending: end,
		show: func(*jobStatus) error {
			shown = append(shown, time.Since(began))
			return nil
		},
		log:      slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: untimed})),
		interval: 2 * time.Second,
	}
	err = w.run(t.Context())
	return shown, out.String(), err
}

// untimed drops the time of log lines.
func untimed(_ []string, a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

func TestWatchFollowsAJobToItsEnd(t *testing.T) {
	gone := &noAnswerError{"a:1", "connection refused", ""}
	running := func() (*musterv1.StatusResponse, error) { return training(), nil }
	over := func(phase string) (*musterv1.StatusResponse, error) {
		return changed(func(r *musterv1.StatusResponse) { r.Phase = phase }), nil
	}
	const silent = `level=WARN msg="no parameter server answers; trying again" address=a:1 err="connection refused"` + "\n"
	const again = `level=INFO msg="the parameter server answers"` + "\n"
	for _, tc := range []struct {
		name  string
		ask   func(ctx context.Context, n int, end chan<- ending) (*musterv1.StatusResponse, error)
		shown []time.Duration
		log   string
		err   string // part of; "": none
	}{
		{"done", func(_ context.Context, n int, _ chan<- ending) (*musterv1.StatusResponse, error) {
			if n < 2 {
				return running()
			}
			return over("done")
		}, []time.Duration{0, 2 * time.Second, 4 * time.Second}, "", ""},
		{"stopped", func(context.Context, int, chan<- ending) (*musterv1.StatusResponse, error) { return over("stopped") }, []time.Duration{0}, "", ""},
		{"failed", func(context.Context, int, chan<- ending) (*musterv1.StatusResponse, error) { return over("failed") }, []time.Duration{0}, "", "the job has failed at step 585"},
		{"not there at first, and away twice", func(_ context.Context, n int, _ chan<- ending) (*musterv1.StatusResponse, error) {
			switch n {
			case 0, 1, 3, 4, 5:
				return nil, gone
			case 2:
				return running()
			}
			return over("done")
		}, []time.Duration{900 * time.Millisecond, 4 * time.Second}, silent + again + silent + again, ""},
		{"ends in good order, unseen", func(_ context.Context, n int, end chan<- ending) (*musterv1.StatusResponse, error) {
			time.AfterFunc(time.Second, func() { end <- ending{} })
			return running()
		}, []time.Duration{0}, `level=INFO msg="the parameter server has ended" seen="training, step 585 of 3,900 (15 %)"` + "\n", ""},
		{"fails, unseen", func(_ context.Context, n int, end chan<- ending) (*musterv1.StatusResponse, error) {
			time.AfterFunc(time.Second, func() { end <- ending{failed: true} })
			return running()
		}, []time.Duration{0}, "", "the job has failed (last seen: training, step 585 of 3,900 (15 %)); its parameter server says why"},
		{"closes its connections, then says that it ends", func(_ context.Context, n int, end chan<- ending) (*musterv1.StatusResponse, error) {
			if n == 0 {
				return running()
			}
			time.AfterFunc(farewell/2, func() { end <- ending{} })
			return nil, gone
		}, []time.Duration{0}, `level=INFO msg="the parameter server has ended" seen="training, step 585 of 3,900 (15 %)"` + "\n", ""},
		{"is another's", func(_ context.Context, n int, _ chan<- ending) (*musterv1.StatusResponse, error) {
			return nil, settings.Usagef("trains job b")
		}, nil, "", "trains job b"},
	} {
		synctest.Test(t, func(t *testing.T) {
			shown, log, err := watching(t, tc.ask)
			if !reflect.DeepEqual(shown, tc.shown) || log != tc.log {
				t.Errorf("%s: shown at %v, said\n%s\nwant %v and\n%s", tc.name, shown, log, tc.shown, tc.log)
			}
			if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("%s: %v, want %q", tc.name, err, tc.err)
			}
		})
	}
}

// TestTheUserStopsWatching ends the context wherever the watcher waits.
func TestTheUserStopsWatching(t *testing.T) {
	for _, tc := range []struct {
		name string
		ask  func(context.Context) (*musterv1.StatusResponse, error)
		at   time.Duration
	}{
		{"between two statuses", func(context.Context) (*musterv1.StatusResponse, error) { return training(), nil }, 3 * time.Second},
		{"while the server is silent", func(ctx context.Context) (*musterv1.StatusResponse, error) {
			<-ctx.Done()
			return nil, &noAnswerError{}
		}, time.Second},
		{"while the server is asked", func(ctx context.Context) (*musterv1.StatusResponse, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, time.Second},
		{"while the server may say that it ends", func(context.Context) (*musterv1.StatusResponse, error) { return nil, &noAnswerError{} }, farewell / 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(tc.at, cancel)
			var log bytes.Buffer
			w := watcher{ask: tc.ask, show: func(*jobStatus) error { return nil }, log: slog.New(slog.NewTextHandler(&log, nil)), interval: 2 * time.Second}
			if err := w.run(ctx); err != nil || log.Len() > 0 {
				t.Errorf("%s: %v, said %q; want quiet success", tc.name, err, log.String())
			}
		})
	}
}

func TestWatchEndsWhenNobodyReads(t *testing.T) {
	broken := errors.New("broken pipe")
	w := watcher{
		ask:  func(context.Context) (*musterv1.StatusResponse, error) { return training(), nil },
		show: func(*jobStatus) error { return broken }, log: slog.New(slog.DiscardHandler), interval: time.Hour,
	}
	if err := w.run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("run = %v, want the error of writing", err)
	}
}
