package chaos

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func TestSettingsThatCanNotWorkAreRefused(t *testing.T) {
	good := Config{Interval: time.Second, Duration: time.Minute, Workers: 3, Servers: 2}
	if err := good.Validate(); supported && err != nil {
		t.Errorf("%v, want it taken", err)
	}
	for want, change := range map[string]func(*Config){
		"interval 1ms: at least 100ms":        func(c *Config) { c.Interval = time.Millisecond },
		"duration 1ms: at least the interval": func(c *Config) { c.Duration = time.Millisecond },
		"0 workers: 1 to 6":                   func(c *Config) { c.Workers = 0 },
		"7 workers: 1 to 6":                   func(c *Config) { c.Workers = 7 },
		"0 servers: 1 to 4":                   func(c *Config) { c.Servers = 0 },
	} {
		c := good
		change(&c)
		if err := c.Validate(); err == nil || supported && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

func TestAFaultIsUndoneOnce(t *testing.T) {
	var mu sync.Mutex
	times := 0
	count := func() { mu.Lock(); defer mu.Unlock(); times++ }
	now := undo(count, time.Hour)
	now()
	now()
	later := undo(count, time.Millisecond)
	time.Sleep(20 * time.Millisecond)
	later()
	if times != 2 {
		t.Errorf("two faults were undone %d times", times)
	}
}

// answer is what a server says of itself.
func answer(term, resumed, step uint64) *musterv1.StatusResponse {
	return &musterv1.StatusResponse{Term: term, ResumedStep: resumed, Step: step, CheckpointStep: step / 10 * 10}
}

func TestStepsThatAreMadeOnceMoreAreCounted(t *testing.T) {
	r := newRecord(slog.New(slog.DiscardHandler))
	a, b := &server{process: &process{name: "a"}}, &server{process: &process{name: "b"}}
	r.take(a, 1, answer(1, 0, 0))
	r.take(a, 1, answer(1, 0, 57))
	r.take(b, 1, answer(2, 57, 57)) // it has followed
	r.take(b, 1, answer(2, 57, 80))
	r.take(a, 1, answer(1, 0, 58)) // deposed, and does not know yet
	if s := r.standing(); s.leader != b || s.step != 80 || s.recomputed != 0 || s.takeovers != 1 || s.checkpoint != 80 {
		t.Errorf("%+v", s)
	}
	r.take(b, 2, answer(3, 70, 70)) // killed, and started again from a checkpoint
	if s := r.standing(); s.recomputed != 10 || s.takeovers != 2 || s.step != 70 {
		t.Errorf("%+v, want 10 steps once more", s)
	}
	r.take(b, 2, answer(3, 70, 90))
	r.take(a, 1, answer(4, 85, 85)) // it had lost touch for a while
	if s := r.standing(); s.recomputed != 15 || s.step != 85 || s.beganAt != 57 {
		t.Errorf("%+v, want 5 more", s)
	}
}

// saved is a directory with checkpoints of some steps.
func saved(t *testing.T, steps ...uint64) string {
	t.Helper()
	dir := t.TempDir()
	store, err := checkpoint.Open(dir, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range steps {
		if _, err := store.Save(t.Context(), state(step), false); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func state(step uint64) *checkpoint.State {
	layout, err := params.NewLayout([]params.Tensor{{Name: "w", Shape: []int{1000}}})
	if err != nil {
		panic(err)
	}
	return &checkpoint.State{
		Meta:   checkpoint.Meta{Job: []byte("{}"), JobHash: strings.Repeat("0", 64), Network: "n", Schedule: "constant", Step: step, Samples: 10 * step},
		Layout: layout, Parameters: params.NewVector(layout.Size()), Momentum: params.NewVector(layout.Size()),
	}
}

func TestATornCheckpointIsNoCheckpoint(t *testing.T) {
	for pick := range uint64(40) {
		dir := saved(t, 3, 5)
		target, err := tear(dir, pick*7919)
		if err != nil || !strings.Contains(target, "step-0000000005.ckpt") {
			t.Fatalf("%s: %v", target, err)
		}
		if err := checkpoint.Verify(filepath.Join(dir, "step-0000000005.ckpt")); err == nil {
			t.Errorf("%s: it is whole", target)
		}
		if err := checkpoint.Verify(filepath.Join(dir, "step-0000000003.ckpt")); err != nil {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestTheOnlyCheckpointIsNotTorn(t *testing.T) {
	s := &stage{dir: t.TempDir()}
	if err := os.Rename(saved(t, 3), s.checkpoints()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.strike(Fault{Kind: TearFile}); !errors.Is(err, errNothing) {
		t.Errorf("%v, want that there is nothing to do it to", err)
	}
	if err := checkpoint.Verify(filepath.Join(s.checkpoints(), "step-0000000003.ckpt")); err != nil {
		t.Error(err)
	}
}

// What there is nothing to do to is no fault, and isn't counted.
func TestAFaultThatDoesNothingIsNone(t *testing.T) {
	gone := func() *process { return &process{wake: make(chan struct{})} }
	s := &stage{etcd: gone(), servers: []*server{{process: gone()}}, record: newRecord(slog.New(slog.DiscardHandler)), workers: []*member{{process: gone()}}}
	s.record.leader = s.servers[0]
	for _, kind := range []Kind{KillWorker, HaltWorker, LeaveWorker, KillServer, KillStandby, HaltServer, StopServer, FillDisk, HaltEtcd} {
		if _, mend, err := s.strike(Fault{Kind: kind}); !errors.Is(err, errNothing) || mend != nil {
			t.Errorf("%s: %v, want that there is nothing to do it to", kind, err)
		}
	}
	if _, _, err := s.strike(Fault{Kind: "rain"}); err == nil || errors.Is(err, errNothing) {
		t.Errorf("a kind that there is not: %v", err)
	}
}

func TestEveryDifferenceIsFound(t *testing.T) {
	score := checkpoint.EpochScore{TestLoss: 1, TrainLoss: 2, Top1: 0.5}
	for want, change := range map[string]func(*checkpoint.State){
		"momentum":        func(s *checkpoint.State) { s.Momentum[7] = 1 },
		"images counted":  func(s *checkpoint.State) { s.Samples++ },
		"were evaluated":  func(s *checkpoint.State) { s.History = nil },
		"epoch 1: {":      func(s *checkpoint.State) { s.History[0].TestLoss = 3 },
		"epoch 1: {Epoch": func(s *checkpoint.State) { s.History[0].TrainLoss = 3 },
	} {
		a, b := state(5), state(5)
		a.History, b.History = []checkpoint.EpochScore{score}, []checkpoint.EpochScore{score}
		if all := differences(a, b); len(all) != 0 {
			t.Fatalf("equal states differ: %v", all)
		}
		change(a)
		if all := differences(a, b); len(all) != 1 || !strings.Contains(all[0], want) {
			t.Errorf("%v, want %q", all, want)
		}
	}
	// A job that is stopped in an evaluation still owes it.
	a, b := state(5), state(5)
	score.Step = 5
	b.History = []checkpoint.EpochScore{score}
	if all := differences(a, b); len(all) != 0 {
		t.Errorf("an evaluation that is owed counts as a difference: %v", all)
	}
	score.Step = 4
	b.History = []checkpoint.EpochScore{score}
	if all := differences(a, b); len(all) != 1 {
		t.Errorf("%v, want an evaluation missed", all)
	}
}

func TestWhatProcessesWroteIsLeft(t *testing.T) {
	dir := t.TempDir()
	p := &process{name: "p"}
	if _, err := p.tail.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	if err := p.writeTail(filepath.Join(dir, "p.log")); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "p.log")); err != nil || string(text) != "hello\n" {
		t.Errorf("%v: %q", err, text)
	}
}
