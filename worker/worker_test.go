package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

func TestJoinsTwiceWithFingerprints(t *testing.T) {
	d := newDirector(t)
	cfg := testConfig(t)
	cfg.JobName, cfg.Registered, cfg.Pinned = "test", true, &dataset.Shard{Index: 2, Count: 4}
	run(t, cfg, d)

	first := await(t, d.calls, "Join")
	if first.Job != "" || first.Layout != "" || first.Data != nil {
		t.Errorf("first Join names job %q, layout %q, data %v; it can't know them", first.Job, first.Layout, first.Data)
	}
	first.reply <- d.offer()
	second := await(t, d.calls, "the second Join")
	if second.Job != wire.JobHash(d.job) || second.Layout != networkOf(t, d.job).Layout.Fingerprint() {
		t.Errorf("second Join names job %q, layout %q", second.Job, second.Layout)
	}
	set := testSet()
	if got := second.Data; got.GetFingerprint() != set.Fingerprint() || got.TrainImages != 18 || got.TestImages != 140 || got.Classes != 10 || got.Synthetic {
		t.Errorf("second Join names data %v", got)
	}
	for _, c := range []call{first, second} {
		if c.Worker != "worker-1" || c.Host != "here" || c.JobName != "test" || !c.Registered || c.Device != cfg.Device.Name() ||
			c.Shard.GetIndex() != 2 || c.Shard.GetCount() != 4 || !slices.Equal(c.Encodings, wire.Spoken()) {
			t.Errorf("Join introduces the worker as %v", c.JoinRequest)
		}
	}
	second.reply <- d.offer()
	if l := await(t, d.lines, "Exchange"); l.hello.Session != 7 || l.hello.HaveStepPlusOne != 0 {
		t.Errorf("hello %v, want session 7 and no parameters", l.hello)
	}
}

func TestServerThatIsNotThereIsWaitedForAndNamedOnce(t *testing.T) {
	d := newDirector(t)
	r := run(t, testConfig(t), d)
	for i := range 5 {
		await(t, d.calls, "Join").reply <- answer{err: fmt.Errorf("not reachable, try %d", i)}
	}
	l := d.admit()
	l.tell(done(true, ""))
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	if n := r.log.count("waiting for the server"); n != 1 || r.log.count("try 0") != 1 {
		t.Errorf("said %d times that it waits, want once:\n%s", n, r.log.text.String())
	}
}

func TestPausesEndWithTheContext(t *testing.T) {
	d := newDirector(t)
	cfg := testConfig(t)
	cfg.FirstWait, cfg.LongestWait = time.Hour, time.Hour
	r := run(t, cfg, d)
	await(t, d.calls, "Join").reply <- answer{err: errors.New("not reachable")}
	r.cancel()
	if err := r.wait(t); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want the context's error", err)
	}
}

func TestRefusalEndsTheWorker(t *testing.T) {
	refusal := fmt.Errorf("%w: shard 3/4 does not fit", ErrRefused)
	for name, refuse := range map[string]func(d *director){
		"at the first join": func(d *director) { await(t, d.calls, "Join").reply <- answer{err: refusal} },
		"at the second join": func(d *director) {
			await(t, d.calls, "Join").reply <- d.offer()
			await(t, d.calls, "Join").reply <- answer{err: refusal}
		},
		"on the stream": func(d *director) { d.admit().cut(refusal) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirector(t)
			r := run(t, testConfig(t), d)
			refuse(d)
			if err := r.wait(t); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "3/4") {
				t.Errorf("Run = %v, want the refusal", err)
			}
		})
	}
}

func TestJobThatCannotBeDoneHereEndsTheWorker(t *testing.T) {
	for _, tc := range []struct {
		name string
		job  func(*musterv1.JobSpec)
		hash string
		want string
	}{
		{"hash of another version", nil, "0123456789abcdef", "their versions differ"},
		{"unknown network", func(j *musterv1.JobSpec) { j.Network = "lenet6" }, "", `unknown network "lenet6"`},
		{"unknown augmentation", func(j *musterv1.JobSpec) { j.Augment = "spin" }, "", "spin"},
		{"more shards than images", func(j *musterv1.JobSpec) { j.Shards, j.Batch = 32, 32 }, "", "must be at most the 18 training images"},
		{"no shards", func(j *musterv1.JobSpec) { j.Shards = 0 }, "", "shards 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDirector(t)
			if tc.job != nil {
				tc.job(d.job)
			}
			r := run(t, testConfig(t), d)
			offer := d.offer()
			if tc.hash != "" {
				offer.response.JobHash = tc.hash
			}
			await(t, d.calls, "Join").reply <- offer
			if err := r.wait(t); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Run = %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestEndOfTheJobEndsTheWorker(t *testing.T) {
	d := newDirector(t)
	r := run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0), done(true, ""))
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v after the job's end", err)
	}
	<-l.closed

	d = newDirector(t)
	r = run(t, testConfig(t), d)
	d.admit().tell(done(false, "gradients are not finite"))
	if err := r.wait(t); !errors.Is(err, ErrJobFailed) || !strings.Contains(err.Error(), "not finite") {
		t.Errorf("Run = %v after the job's failure, want ErrJobFailed with the reason", err)
	}
}

func TestDoneIsHeardThoughTheStreamBrokeWhileComputing(t *testing.T) {
	for _, success := range []bool{true, false} {
		d := newDirector(t)
		r := run(t, testConfig(t), d)
		l := d.admit()
		l.tell(assigned(0))
		l.tell(loaded(networkOf(t, d.job), 0)...)
		l.tell(asked(gradientKind, 0))
		// The worker computes, or waits to send, while the server says that the job
		// is over and goes.
		l.down <- done(success, "stopped")
		l.cut(io.EOF)
		if err := r.wait(t); (err == nil) != success || !success && !errors.Is(err, ErrJobFailed) {
			t.Errorf("success %v: Run = %v", success, err)
		}
	}
}

func TestLostStreamIsJoinedAgain(t *testing.T) {
	for name, end := range map[string]func(l *line){
		"an error":            func(l *line) { l.tell(assigned(0)); l.cut(errors.New("connection reset")) },
		"an end without Done": func(l *line) { l.tell(assigned(0)); l.cut(io.EOF) },
		"a broken send": func(l *line) {
			l.tell(assigned(0))
			l.tell(loaded(networkOf(t, testJob()), 0)...)
			l.tell(asked(gradientKind, 0))
			l.hear()
			l.cut(errors.New("connection reset"))
		},
		"an empty message":       func(l *line) { l.tell(&musterv1.ExchangeResponse{}) },
		"a shard beyond the job": func(l *line) { l.tell(assigned(4)) },
		"a chunk beyond the layout": func(l *line) {
			m := wire.NewParametersChunk(0, 1, []float32{1})
			l.tell(&musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Parameters{Parameters: m}})
		},
		"a batch beyond the epoch": func(l *line) {
			w := asked(gradientKind, 0)
			w.GetWork().Batch = 3
			l.tell(assigned(0))
			l.tell(loaded(networkOf(t, testJob()), 0)...)
			l.tell(w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDirector(t)
			r := run(t, testConfig(t), d)
			l := d.admit()
			end(l)
			again := d.admit()
			await(t, l.closed, "the end of the first stream")
			again.tell(done(true, ""))
			if err := r.wait(t); err != nil {
				t.Errorf("Run = %v", err)
			}
			if n := r.log.count("connection lost"); n != 1 {
				t.Errorf("said %d times that the connection was lost, want once", n)
			}
		})
	}
}

func TestServerWithAnotherJobIsWorkedFor(t *testing.T) {
	d := newDirector(t)
	r := run(t, testConfig(t), d)
	l := d.admit()
	l.tell(loaded(networkOf(t, d.job), 4)...)
	l.cut(io.EOF)

	d.job.Seed++ // the server is another one from now on
	await(t, d.calls, "Join").reply <- d.offer()
	second := await(t, d.calls, "the second Join")
	if second.Job != wire.JobHash(d.job) {
		t.Errorf("joined with job %.12s, want %.12s", second.Job, wire.JobHash(d.job))
	}
	second.reply <- d.offer()
	l = await(t, d.lines, "Exchange")
	if l.hello.HaveStepPlusOne != 0 {
		t.Errorf("holds step %d of another job", l.hello.HaveStepPlusOne-1)
	}
	l.tell(done(true, ""))
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
}

func TestStoppedWorkerGivesItsShardsBack(t *testing.T) {
	d := newDirector(t)
	r := run(t, testConfig(t), d)
	l := d.admit()
	l.tell(assigned(0, 1))
	r.cancel()
	if m := l.hear(); m.GetLeave() == nil {
		t.Errorf("sent %v, want Leave", m)
	}
	if err := r.wait(t); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want the context's error", err)
	}
	<-l.closed
}

// lateContext ends as soon as somebody looks at its error: in a worker that is
// the loader, when a step has begun.
type lateContext struct {
	context.Context
	end context.CancelFunc
}

func (c lateContext) Err() error {
	c.end()
	return c.Context.Err()
}

func TestWorkerStoppedAmidAStepGivesItsShardsBack(t *testing.T) {
	d := newDirector(t)
	ctx, cancel := context.WithCancel(context.Background())
	r := runIn(t, lateContext{ctx, cancel}, cancel, testConfig(t), d, nil)
	l := d.admit()
	l.tell(assigned(0, 1))
	l.tell(loaded(networkOf(t, d.job), 0)...)
	l.tell(asked(gradientKind, 0))
	if m := l.hear(); m.GetLeave() == nil {
		t.Errorf("sent %v, want Leave", m)
	}
	if err := r.wait(t); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want the context's error", err)
	}
}

func TestRunLeavesNoGoroutine(t *testing.T) {
	d := newDirector(t)
	cfg := testConfig(t)
	before := runtime.NumGoroutine()
	r := run(t, cfg, d)
	d.admit().cut(io.EOF)
	l := d.admit()
	l.tell(assigned(0, 1, 2, 3))
	l.tell(loaded(networkOf(t, d.job), 0)...)
	l.tell(asked(gradientKind, 0))
	l.contribute(networkOf(t, d.job), 0, 1)
	l.tell(done(true, ""))
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	// One that has ended may still be counted for a moment.
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines more than before Run", runtime.NumGoroutine()-before)
		}
	}
}

func TestConfigRefuses(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no id":           func(c *Config) { c.ID = "" },
		"no data":         func(c *Config) { c.Data = nil },
		"no device":       func(c *Config) { c.Device = nil },
		"no pause":        func(c *Config) { c.FirstWait = 0 },
		"negative wait":   func(c *Config) { c.MaxWait = -1 },
		"shrinking pause": func(c *Config) { c.LongestWait = c.FirstWait - 1 },
		"shard beyond":    func(c *Config) { c.Pinned = &dataset.Shard{Index: 4, Count: 4} },
	} {
		c := testConfig(t)
		change(&c)
		if _, err := New(c, newDirector(t)); err == nil {
			t.Errorf("%s: New took it", name)
		}
	}
}
