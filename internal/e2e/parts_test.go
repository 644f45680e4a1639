package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// partsJob is TestSameBits' job with outputs enough for three chunks, and shorter.
func partsJob() *musterv1.JobSpec {
	j := job()
	j.Classes, j.Epochs = 8000, 3
	return j
}

// partedJob is that job with several servers.
type partedJob struct {
	t     *testing.T
	dir   string
	count int
	more  []string // flags of the job
}

func newPartedJob(t *testing.T, count int, more ...string) *partedJob {
	return &partedJob{t, t.TempDir(), count, more}
}

func (j *partedJob) address(part int) string {
	return fmt.Sprintf("unix://%s", filepath.Join(j.dir, fmt.Sprintf("s%d", part)))
}

// server starts the server of a part.
func (j *partedJob) server(part int) *process {
	j.t.Helper()
	flags := []string{"--part", fmt.Sprintf("%d/%d", part, j.count), "--listen", j.address(part), "--http", "off"}
	if part == 0 {
		flags = append(append(append(serverFlags(j.dir), "--classes", "8000", "--epochs", "3"), j.more...), flags...)
	} else {
		flags = append(flags, "--coordinator", j.address(0))
	}
	return start(j.t, "paramserver", flags...)
}

func (j *partedJob) servers() (all []*process) {
	j.t.Helper()
	for part := range j.count {
		all = append(all, j.server(part))
	}
	return all
}

// end waits for the end of all, which must be a success, and returns the hash.
func (j *partedJob) end(servers, workers []*process) string {
	j.t.Helper()
	hash := servers[0].hash()
	ended(j.t, append(servers[1:], workers...))
	return hash
}

func partsTrained(count, n int, more ...string) func(t *testing.T) string {
	return func(t *testing.T) string {
		j := newPartedJob(t, count, more...)
		servers := j.servers()
		return j.end(servers, workers(t, j.address(0), n, 1, false))
	}
}

func TestSameBitsWithParts(t *testing.T) {
	if testing.Short() {
		t.Skip("TestSameBitsWithParts starts many processes")
	}
	f32 := inProcess(t, partsJob(), 1, 1).Hash
	spec := partsJob()
	spec.Encoding = "bf16"
	bf16 := inProcess(t, spec, 1, 1).Hash
	spec = partsJob()
	spec.Batch = 16 // so that factors are fewer bytes than what they stand for
	small := inProcess(t, spec, 1, 1).Hash
	for _, tc := range []struct {
		name, want string
		run        func(t *testing.T) string
	}{
		{"2 parts, 1 worker", f32, partsTrained(2, 1)},
		{"3 parts, 3 workers", f32, partsTrained(3, 3)},
		{"3 parts, 2 workers, bf16", bf16, partsTrained(3, 2, "--encoding", "bf16")},
		{"3 parts, 2 workers, factors", small, partsTrained(3, 2, "--encoding", "factors", "--batch", "16")},
		{"a part killed in mid-epoch and started again", f32, partKilled},
		{"a part stopped in good order and started again", f32, partStopped},
		{"the coordinator killed in mid-epoch and started again", f32, coordinatorKilled},
		{"a worker killed in mid-epoch", f32, workerOfPartsKilled},
		{"parts that found the coordinator, and workers, before it was there", f32, partsEarly},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := tc.run(t); got != tc.want {
				t.Errorf("parameters sha256:%s, want %s", got, tc.want)
			}
		})
	}
}

func partKilled(t *testing.T) string {
	j := newPartedJob(t, 3)
	servers := j.servers()
	all := workers(t, j.address(0), 2, 1, false)
	servers[0].say("parameter server ready")
	reach(t, api(t, j.address(0)), 4)
	servers[2].kill()
	servers[0].say("the job goes back to where all parts can go on from")
	servers[2] = j.server(2)
	hash := j.end(servers, all)
	if from, to := j.wentBack(servers[0]); to == 0 || from-to > 2 {
		t.Errorf("the job went from step %d to %d: more than the steps since the newest checkpoint", from, to)
	}
	return hash
}

func partStopped(t *testing.T) string {
	j := newPartedJob(t, 2)
	servers := j.servers()
	all := workers(t, j.address(0), 1, 1, false)
	servers[0].say("parameter server ready")
	reach(t, api(t, j.address(0)), 3)
	if err := servers[1].cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if s := servers[1].status(); s != 3 || !strings.Contains(servers[1].stderr(), "wait for part 1/2") {
		t.Errorf("a part that was stopped ended with status %d, want 3 and who waits", s)
	}
	servers[1] = j.server(1)
	hash := j.end(servers, all)
	if from, to := j.wentBack(servers[0]); from != to {
		t.Errorf("the job went from step %d to %d, though the part was stopped in good order", from, to)
	}
	return hash
}

// wentBack is from where to where the coordinator says that it went back.
func (j *partedJob) wentBack(coordinator *process) (from, to int) {
	j.t.Helper()
	went := regexp.MustCompile(`goes back .*from_step=(\d+) to_step=(\d+)`).FindStringSubmatch(coordinator.stderr())
	if went == nil {
		j.t.Fatal("the coordinator doesn't say where it goes back to")
	}
	return number(j.t, went[1]), number(j.t, went[2])
}

func coordinatorKilled(t *testing.T) string {
	j := newPartedJob(t, 2)
	servers := j.servers()
	all := workers(t, j.address(0), 2, 1, false)
	servers[0].say("parameter server ready")
	reach(t, api(t, j.address(0)), 4)
	servers[0].kill()
	servers[0] = j.server(0)
	hash := j.end(servers, all)
	if at := regexp.MustCompile(`msg=resumed .*step=(\d+)`).FindStringSubmatch(servers[0].stderr()); at == nil || number(t, at[1]) == 3*batches {
		t.Errorf("the second coordinator did not go on in the midst of the job: %v", at)
	}
	return hash
}

func workerOfPartsKilled(t *testing.T) string {
	j := newPartedJob(t, 2, "--shard-timeout", "5s")
	servers := j.servers()
	servers[0].say("parameter server ready")
	victim := start(t, "worker", "--server", j.address(0), "--data", data, "--threads", "1", "--shard", fmt.Sprintf("0/%d", shards))
	victim.say("joined")
	all := workers(t, j.address(0), 1, 1, false)
	reach(t, api(t, j.address(0)), 3)
	victim.kill()
	servers[0].say("worker lost")
	return j.end(servers, all)
}

func partsEarly(t *testing.T) string {
	j := newPartedJob(t, 2)
	all := workers(t, j.address(0), 1, 1, false)
	part := j.server(1)
	all[0].say("waiting for the server")
	part.say("waiting for the server that coordinates")
	return j.end([]*process{j.server(0), part}, all)
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// What concerns the whole job is answered by the coordinator, with all parts.
func TestAJobOfPartsAnswersAsOne(t *testing.T) {
	if testing.Short() {
		t.Skip("TestAJobOfPartsAnswersAsOne starts processes")
	}
	j := newPartedJob(t, 2, "--when-done", "wait")
	servers := j.servers()
	all := workers(t, j.address(0), 1, 1, false)
	servers[0].say("answering until stopped")
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	coordinator := api(t, j.address(0))
	status, err := coordinator.Status(ctx, &musterv1.StatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if len(status.Parts) != 2 || status.Parts[0].First != 0 || status.Parts[0].End != 1 || status.Parts[1].First != 1 || status.Parts[1].End != 3 {
		t.Errorf("parts %v, want chunk 0 and chunks 1 and 2", status.Parts)
	}
	ended(t, append(servers[1:], all...))

	if err := servers[0].cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	hash := servers[0].hash()

	// A checkpoint of parts is a checkpoint: a server alone takes it up.
	alone := start(t, "paramserver", append(serverFlags(j.dir), "--classes", "8000", "--epochs", "3", "--listen", "127.0.0.1:0", "--http", "off")...)
	if got := alone.hash(); got != hash {
		t.Errorf("a server alone took up sha256:%s, want %s", got, hash)
	}
}
