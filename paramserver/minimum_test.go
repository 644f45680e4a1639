package paramserver

import (
	"strings"
	"sync"
	"testing"
	"time"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// awaitStatus waits until the status is as wanted, and returns it.
func awaitStatus(t *testing.T, s *Server, what string, is func(*musterv1.StatusResponse) bool) *musterv1.StatusResponse {
	t.Helper()
	for began := time.Now(); time.Since(began) < patience; {
		if r := look(t, s); is(r) {
			return r
		}
	}
	t.Fatalf("waited in vain for %s; the job is %v", what, look(t, s))
	return nil
}

// leave says good-bye.
func (p *puppet) leave() {
	p.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Leave{Leave: &musterv1.Leave{Reason: "test"}}})
	p.stream.Close()
}

func TestTrainingBeginsWithEnoughWorkers(t *testing.T) {
	cfg := testConfig(t)
	cfg.MinWorkers = 2
	r := run(t, newServer(t, cfg))
	a := newPuppet(t, r.Server, "a")
	awaitMember(t, r.Server, "a") // whose shards would be trained on from now on
	if s := look(t, r.Server); s.Phase != "waiting" || s.MinWorkers != 2 || s.Step != 0 || s.ImagesPerSecond != 0 {
		t.Errorf("with one worker of two the phase is %s, at least %d workers, step %d", s.Phase, s.MinWorkers, s.Step)
	}
	b := newPuppet(t, r.Server, "b")
	var all sync.WaitGroup
	all.Go(a.toil)
	all.Go(b.toil)
	all.Wait()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
	if result.Split.Images != 5 || len(a.shards) != 1 || len(b.shards) != 1 {
		t.Errorf("%d images, shards %v and %v; want 5, and one each from the first step on", result.Split.Images, a.shards, b.shards)
	}
}

// The step in which a worker is lost is made whole by the rest; the next one waits
// for another worker.
func TestTrainingPausesWithTooFewWorkers(t *testing.T) {
	cfg := testConfig(t)
	cfg.MinWorkers = 2
	r := run(t, newServer(t, cfg))
	a, b := newPuppet(t, r.Server, "a"), newPuppet(t, r.Server, "b")
	first := a.work()
	b.work()
	b.leave()
	awaitStatus(t, r.Server, "a to own all shards", func(s *musterv1.StatusResponse) bool {
		return len(s.Workers) > 0 && s.Workers[0].Worker == "a" && len(s.Workers[0].Shards) == 2
	})
	// Of its own shard, and then of that which was b's.
	a.obey(first)
	a.obey(a.work())
	s := awaitStatus(t, r.Server, "a pause", func(s *musterv1.StatusResponse) bool { return s.Phase == "waiting" && s.Step == 1 })
	if len(s.UnownedShards) > 0 || s.Split.WaitSeconds <= 0 {
		t.Errorf("in the pause shards %v have no owner, and %v s were waited", s.UnownedShards, s.Split.WaitSeconds)
	}
	c := newPuppet(t, r.Server, "c")
	var all sync.WaitGroup
	all.Go(a.toil)
	all.Go(c.toil)
	all.Wait()
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

// A relaxed job ends the steps it has asked for, and waits long before the epoch's end.
func TestRelaxedTrainingPausesWithTooFewWorkers(t *testing.T) {
	cfg := relaxedConfig(t, "async")
	cfg.MinWorkers = 2
	r := run(t, newServer(t, cfg))
	a, b := newPuppet(t, r.Server, "a"), newPuppet(t, r.Server, "b")
	b.work() // of step 0
	b.leave()
	var all sync.WaitGroup
	all.Go(a.toil)
	s := awaitStatus(t, r.Server, "a pause", func(s *musterv1.StatusResponse) bool { return s.Phase == "waiting" && s.Step > 0 })
	if s.Step != 1 {
		t.Errorf("paused at step %d, want 1: nobody had been asked for another", s.Step)
	}
	c := newPuppet(t, r.Server, "c")
	all.Go(c.toil)
	all.Wait()
	if result, err := r.wait(t); err != nil || result.Step != 3 || result.Split.Images != 5 {
		t.Errorf("ended at step %d with %d images, %v; want 3 and 5", result.Step, result.Split.Images, err)
	}
}

func TestAPauseCanBeStopped(t *testing.T) {
	cfg := testConfig(t)
	cfg.MinWorkers = 2
	r := run(t, newServer(t, cfg))
	newPuppet(t, r.Server, "a")
	awaitMember(t, r.Server, "a")
	r.cancel()
	if result, err := r.wait(t); err != ErrStopped || result.Step != 0 {
		t.Errorf("stopped at step %d with %v", result.Step, err)
	}
}

func TestPausesAreWaitedFor(t *testing.T) {
	m := meter{workers: map[string]workerLoad{}}
	at := time.Unix(0, 0)
	m.pause(at)
	m.resumed(at.Add(time.Hour)) // before there was a step
	m.rounds = 1
	m.pause(at)
	during := m.sofarPaused(at.Add(2 * time.Second))
	m.resumed(at.Add(3 * time.Second))
	m.pause(at)
	m.resumed(at.Add(time.Second))
	if during != 2*time.Second || m.split.Wait != 4*time.Second || m.sofarPaused(at.Add(time.Hour)) != 4*time.Second {
		t.Errorf("waited %v in the first pause and %v in all, want 2s and 4s", during, m.split.Wait)
	}
}

func TestConfigOfAMinimum(t *testing.T) {
	for _, n := range []int{-1, 0, 3} {
		cfg := testConfig(t)
		cfg.MinWorkers = n
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), "1 to the number of shards, 2, are allowed") {
			t.Errorf("min-workers %d of 2 shards: %v", n, err)
		}
	}
}
