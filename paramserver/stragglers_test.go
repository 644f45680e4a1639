package paramserver

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-train/muster/internal/membership"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// quickPace takes a worker for slow after one slow step.
var quickPace = membership.PaceConfig{Factor: 1.5, Steps: 1}

// fourShards is a job of 4 shards over testData: an epoch has a step of 4 images and
// one of 1.
func fourShards() *musterv1.JobSpec {
	job := testJob()
	job.Shards, job.Batch, job.Epochs = 4, 4, 3
	return job
}

// A worker that says it is slow has a shard moved away, and the parameters are those
// of a job in which nobody is slow.
func TestShardsMoveFromASlowWorkerAndTheBitsAreTheSame(t *testing.T) {
	for _, keep := range []bool{false, true} {
		var told syncBuffer
		cfg := testConfig(t)
		cfg.Job, cfg.KeepShards, cfg.Pace = fourShards(), keep, quickPace
		cfg.Log = slog.New(slog.NewTextHandler(&told, nil))
		r := run(t, newServer(t, cfg))
		fast, slow := newPuppet(t, r.Server, "fast"), newPuppet(t, r.Server, "slow")
		awaitMember(t, r.Server, "slow") // which is given shards at the next step
		fast.seconds, slow.seconds = 0.5, 5
		var all sync.WaitGroup
		all.Go(fast.toil)
		all.Go(slow.toil)
		all.Wait()
		result, err := r.wait(t)
		check(t, result, err, fourShards(), 6)
		want := 3
		if keep {
			want = 2
		}
		if len(fast.shards) != want || len(slow.shards) != 4-want {
			t.Errorf("keep %v: in the end the fast worker owns %v, the slow one %v; want %d and %d shards", keep, fast.shards, slow.shards, want, 4-want)
		}
		if s := told.String(); !strings.Contains(s, "persistently slower than others\" worker=slow speed=0.10") {
			t.Errorf("keep %v: the log doesn't name the slow worker: %s", keep, s)
		}
	}
}

// awaitMember waits until the server knows of a worker's key.
func awaitMember(t *testing.T, s *Server, worker string) {
	t.Helper()
	for began := time.Now(); time.Since(began) < patience; {
		for _, w := range look(t, s).Workers {
			if w.Worker == worker {
				return
			}
		}
	}
	t.Fatalf("%s has never become a member", worker)
}

// syncBuffer is a buffer that several goroutines write to.
type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestStatusNamesStragglers(t *testing.T) {
	cfg := testConfig(t)
	cfg.Pace = quickPace
	s := newServer(t, cfg)
	s.members = []membership.Member{{ID: "a", Pinned: -1}, {ID: "b", Pinned: 1}, {ID: "new", Pinned: -1}}
	s.pace.Step(time.Now(), map[string]membership.Load{"a": {Seconds: 1, Images: 8, Shards: 1}, "b": {Seconds: 4, Images: 8, Shards: 1}})
	for i, want := range []struct {
		speed float64
		slow  bool
	}{{1, false}, {0.25, true}, {0, false}} {
		if w := s.status().Workers[i]; w.RelativeSpeed != want.speed || w.Straggler != want.slow {
			t.Errorf("%s: speed %v, straggler %v; want %v, %v", w.Worker, w.RelativeSpeed, w.Straggler, want.speed, want.slow)
		}
	}
	s.pace.Keep(s.members[:1])
	if s.status().Workers[1].Straggler {
		t.Error("a worker that has left is a straggler still")
	}
}

func TestConfigOfAPace(t *testing.T) {
	for _, bad := range []membership.PaceConfig{{}, {Factor: 1.25, Steps: 1}, {Factor: 2}} {
		cfg := testConfig(t)
		cfg.Pace = bad
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "more than 1.25") {
			t.Errorf("%+v: %v, want a refusal", bad, err)
		}
	}
}
