package chaos

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/muster-train/muster/model/params"
	"github.com/muster-train/muster/paramserver/checkpoint"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Config says what is destroyed, and how.
type Config struct {
	Program  string        // muster, which the processes of the stage are
	Dir      string        // of all files
	Seed     uint64        // of the plan
	Interval time.Duration // between two faults, in the mean
	Duration time.Duration // of the destruction
	Workers  int           // to begin with
	Servers  int
	Log      *slog.Logger
}

// Validate returns one sentence about the first setting that can't work.
func (c *Config) Validate() error {
	switch {
	case !supported:
		return errors.New("faults are injected on Linux alone")
	case c.Interval < 100*time.Millisecond:
		return fmt.Errorf("interval %v: at least 100ms", c.Interval)
	case c.Duration < c.Interval:
		return fmt.Errorf("duration %v: at least the interval, %v", c.Duration, c.Interval)
	case c.Workers < 1 || c.Workers > maxWorkers:
		return fmt.Errorf("%d workers: 1 to %d are allowed", c.Workers, maxWorkers)
	case c.Servers < 1 || c.Servers > 4:
		return fmt.Errorf("%d servers: 1 to 4 are allowed", c.Servers)
	}
	return nil
}

// Report is what came of it.
type Report struct {
	Faults          int          // that were injected
	Kinds           map[Kind]int // of each kind
	HashEqual       bool         // to that of the undisturbed job
	Hash, Want      string       // of the parameters, of this job and of the undisturbed one
	Step            uint64       // at which they are compared
	StepsRecomputed uint64       // made by one server and once more by another
	Takeovers       int          // servers that led after another
	Seconds         float64      // that the disturbed job took for its steps
	SecondsLost     float64      // more than the undisturbed one
	Differences     []string     // beside the parameters
}

const (
	saveEvery = 30              // steps between two checkpoints: not always at the end of an epoch
	patience  = 2 * time.Minute // for what takes seconds
	settling  = 5               // steps that the job must make once all is mended
)

// Run destroys a job according to a plan, and compares it with an undisturbed one. An
// error tells that the job did not go on, or that a process was defective.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	r := &Report{Kinds: map[Kind]int{}}
	disturbed, err := stageIn(cfg, "disturbed", saveEvery)
	if err != nil {
		return r, err
	}
	err = disturbed.suffer(ctx, NewPlan(cfg.Seed, cfg.Interval, cfg.Duration), r)
	disturbed.close()
	if err == nil {
		cfg.Log.Info("the same job undisturbed", "steps", r.Step)
		err = compareUndisturbed(ctx, cfg, disturbed.checkpoints(), r)
	}
	if err != nil || !r.HashEqual {
		disturbed.writeTails()
	}
	return r, err
}

// compareUndisturbed trains an undisturbed job to the step of a report, and compares.
func compareUndisturbed(ctx context.Context, cfg Config, disturbed string, r *Report) error {
	s, err := stageIn(cfg, "undisturbed", r.Step)
	if err != nil {
		return err
	}
	err = s.compare(ctx, disturbed, r)
	s.close()
	if err != nil {
		s.writeTails()
	}
	return err
}

func stageIn(cfg Config, name string, every uint64) (*stage, error) {
	dir := filepath.Join(cfg.Dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	return startStage(cfg, dir, every, cfg.Log)
}

// suffer injects the faults of a plan, mends everything, sees the job go on, and stops it.
func (s *stage) suffer(ctx context.Context, plan []Fault, r *Report) error {
	if err := s.reach(ctx, "a first checkpoint", func(now standing) bool { return now.checkpoint > 0 }); err != nil {
		return err
	}
	start := time.Now()
	var mends []func()
	defer func() {
		for _, mend := range mends {
			mend()
		}
	}()
	for i, f := range plan {
		select {
		case <-time.After(time.Until(start.Add(f.At))):
		case <-ctx.Done():
			return ctx.Err()
		}
		target, mend, err := s.strike(f)
		switch {
		case errors.Is(err, errNothing):
			s.log.Info("no fault", "n", i+1, "kind", f, "why", err)
			continue
		case err != nil:
			return fmt.Errorf("%s: %w", f, err)
		}
		r.Faults++
		r.Kinds[f.Kind]++
		s.log.Info("fault", "n", i+1, "of", len(plan), "kind", f, "target", target, "step", s.record.standing().step)
		if mend != nil {
			mends = append(mends, undo(mend, f.For))
		}
		if why := s.defect(); why != "" {
			return errors.New(why)
		}
	}
	for _, mend := range mends {
		mend()
	}
	mends = nil
	return s.finish(ctx, r)
}

// undo calls mend after a time, or when the function it returns is called before.
func undo(mend func(), after time.Duration) (now func()) {
	once := make(chan struct{}, 1)
	once <- struct{}{}
	mended := make(chan struct{})
	f := func() {
		select {
		case <-once:
			mend()
			close(mended)
		case <-mended:
		}
	}
	timer := time.AfterFunc(after, f)
	return func() { timer.Stop(); f() }
}

// finish sees that the job goes on, and stops it at a step.
func (s *stage) finish(ctx context.Context, r *Report) error {
	mended := s.record.standing().step
	s.log.Info("everything is mended; the job must go on", "step", mended)
	if err := s.reach(ctx, "further steps once everything was mended", func(now standing) bool { return now.step >= mended+settling }); err != nil {
		return err
	}
	// Whoever were started again, or followed on, would lead the job beyond its stop.
	for _, v := range s.servers {
		v.hold()
	}
	stopped, err := s.stop(ctx)
	if err != nil {
		return err
	}
	for _, v := range s.servers {
		v.process.close()
	}
	now := s.record.standing()
	r.Step, r.StepsRecomputed, r.Takeovers = stopped.Step, now.recomputed, now.takeovers
	r.Seconds = time.Since(now.began).Seconds() * float64(r.Step) / float64(max(1, r.Step-now.beganAt))
	if why := s.defect(); why != "" {
		return errors.New(why)
	}
	return nil
}

// reach waits until the job stands as is wanted.
func (s *stage) reach(ctx context.Context, what string, is func(standing) bool) error {
	timeout := time.After(patience)
	for !is(s.record.standing()) {
		select {
		case <-time.After(askPause):
		case <-timeout:
			return fmt.Errorf("the job stands still at step %d: no %s within %v", s.record.standing().step, what, patience)
		case <-ctx.Done():
			return ctx.Err()
		}
		if why := s.defect(); why != "" {
			return errors.New(why)
		}
	}
	return nil
}

// stop stops the job at its newest step. The leader may just be another one.
func (s *stage) stop(ctx context.Context) (*musterv1.StopResponse, error) {
	var last error
	for until := time.Now().Add(patience); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(askPause) {
		leader := s.record.standing().leader
		asking, cancel := context.WithTimeout(ctx, 20*time.Second)
		response, err := leader.api.Stop(asking, &musterv1.StopRequest{Reason: "the faults are over"})
		cancel()
		if err == nil {
			return response, nil
		}
		last = err
	}
	return nil, fmt.Errorf("the job can't be stopped: %w", errors.Join(last, ctx.Err()))
}

// compare trains to the same step undisturbed, and compares the states.
func (s *stage) compare(ctx context.Context, disturbed string, r *Report) error {
	said, moved, last := time.Now(), time.Now(), uint64(0)
	for {
		now := s.record.standing()
		if now.step != last {
			last, moved = now.step, time.Now()
		}
		if time.Since(moved) > patience {
			return fmt.Errorf("undisturbed, the job stands still at step %d", now.step)
		}
		if now.checkpoint >= r.Step {
			r.SecondsLost = r.Seconds - time.Since(now.began).Seconds()*float64(r.Step)/float64(max(1, r.Step-now.beganAt))
			break
		}
		if time.Since(said) > 10*time.Second {
			s.log.Info("undisturbed", "step", now.step, "of", r.Step)
			said = time.Now()
		}
		select {
		case <-time.After(askPause):
		case <-ctx.Done():
			return ctx.Err()
		}
		if why := s.defect(); why != "" {
			return errors.New("undisturbed: " + why)
		}
	}
	name := fmt.Sprintf("step-%010d.ckpt", r.Step)
	got, err := checkpoint.Read(filepath.Join(disturbed, name))
	if err != nil {
		return err
	}
	want, err := checkpoint.Read(filepath.Join(s.checkpoints(), name))
	if err != nil {
		return err
	}
	r.Hash, r.Want = params.Hash(got.Parameters), params.Hash(want.Parameters)
	r.Differences = differences(got, want)
	r.HashEqual = r.Hash == r.Want && len(r.Differences) == 0
	return nil
}

// differences are those of two states beside the parameters: momentum, images that
// counted, and every evaluation.
func differences(got, want *checkpoint.State) (all []string) {
	if a, b := params.Hash(got.Momentum), params.Hash(want.Momentum); a != b {
		all = append(all, fmt.Sprintf("momentum has hash %.12s, undisturbed %.12s", a, b))
	}
	if got.Samples != want.Samples {
		all = append(all, fmt.Sprintf("%d images counted, undisturbed %d", got.Samples, want.Samples))
	}
	// The job may have been stopped in the evaluation of its newest step, which is owed then.
	if n := len(want.History); n > 0 && n == len(got.History)+1 && want.History[n-1].Step == want.Step {
		want.History = want.History[:n-1]
	}
	if len(got.History) != len(want.History) {
		return append(all, fmt.Sprintf("%d epochs were evaluated, undisturbed %d", len(got.History), len(want.History)))
	}
	for i := range got.History {
		if a, b := got.History[i], want.History[i]; a.TestLoss != b.TestLoss || a.Top1 != b.Top1 || a.TrainLoss != b.TrainLoss {
			all = append(all, fmt.Sprintf("epoch %d: %+v, undisturbed %+v", i+1, a, b))
		}
	}
	return all
}
