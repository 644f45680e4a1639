package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/telemetry"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

type statusOptions struct {
	server   serverOptions
	logs     logs.Options
	watch    bool
	interval time.Duration
	json     bool
}

func statusCommand() *cobra.Command {
	var o statusOptions
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What a job is doing: workers, shards, step, rate, throughput, faults",
		Long: `Status asks a running parameter server what its job is doing.

With --watch it asks again and again, and waits for a server that does not
answer. It ends with 0 when the job is done or stopped, or when the server ends
in good order, and with 1 when the job has failed.

With --json each status is one line with these fields. Shards, steps, epochs and
batches are counted from 0; null is what is not known yet, or is no number.

  job, job_hash, network, shards,     the job
  batch_size, epochs, seed
  synthetic                           trained on built-in images, not CIFAR-10
  phase                               waiting, training, evaluating, done,
                                      stopped, failed
  unowned_shards                      shards that wait for a worker
  min_workers                         workers that must be connected
  step, total_steps                   updates applied, and of the whole job
  resumed_step                        step that the server began with
  epoch, batch, batches               place of the step in progress, batches of
                                      an epoch
  samples                             images whose gradients were applied
  learning_rate, loss, accuracy       of the newest step
  images_per_second                   throughput
  remaining_seconds                   until the job is done
  last_evaluation, best_evaluation    step, epoch, loss, top1, top5
  checkpoint, checkpoint_step         the newest one
  workers                             worker, host, device, shards,
                                      pinned_shard, connected, images,
                                      hung (silent for too long: it has no shards
                                      while others can have them),
                                      compute_seconds (of the newest step);
                                      relative_speed (1: as the median), straggler
                                      (persistently slower than others);
                                      transport of gradients and parameters:
                                      memory (shared), stream, or process (it is
                                      the server's own)
  parts                               part, address (null: not there), chunks,
                                      received_bytes, sent_bytes of each server,
                                      where several share the parameters
  term                                in which the server leads; 0: no election
  standbys                            server, address, following (it has every
                                      step) of those that would take its place
  time                                compute_seconds, exchange_seconds,
                                      wait_seconds, evaluate_seconds, and the
                                      images trained on meanwhile
  refused_not_finite,                 contributions that did not count
  refused_malformed,
  repeated_contributions
  received_bytes, sent_bytes          gradients, parameters
  staleness_mean, staleness_max       updates that others made to parameters
                                      between their reading and the gradient
                                      that came of them, with --sync ssp or async
  steps_ahead                         steps that a worker was ahead of the slowest
                                      shard, at most

Times, faults, bytes and the images of workers are of the server's process: they
begin anew when it does.`,
		Example: `  muster status
  muster status --watch --server 10.0.0.7:9000
  muster status --watch --json | jq .loss`,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.server.define(cmd.Flags())
	settings.Group(cmd.Flags(), "Watching", func(fs *pflag.FlagSet) {
		fs.BoolVar(&o.watch, "watch", false, "show the status again and again, until the job is over")
		fs.DurationVar(&o.interval, "interval", 2*time.Second, "`time` between two statuses of --watch")
	})
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print a line of JSON for each status")
	return cmd
}

// check refuses what makes no sense.
func (o *statusOptions) check(cmd *cobra.Command) error {
	if o.interval <= 0 {
		return settings.Usagef("%s %v: want a time above 0, such as 2s", settings.Origin(cmd, "interval"), o.interval)
	}
	if cmd.Flags().Changed("interval") && !o.watch {
		return settings.Usagef("%s needs --watch", settings.Origin(cmd, "interval"))
	}
	return o.server.check(cmd)
}

func (o *statusOptions) run(cmd *cobra.Command) error {
	log, _, err := o.logs.Open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if err := o.check(cmd); err != nil {
		return err
	}
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	show := printer(out, o.json)
	if o.watch && !o.json && telemetry.IsTerminal(out) {
		s := newScreen(out)
		defer s.end(ctx)
		show = s.status
		if telemetry.IsTerminal(cmd.ErrOrStderr()) {
			log = slog.New(aboveScreen{log.Handler(), s})
		}
	}
	link, err := o.server.open(log)
	if err != nil {
		return err
	}
	defer link.close()
	if !o.watch {
		r, err := link.await(ctx)
		if err != nil {
			return err
		}
		return show(statusOf(r))
	}
	w := watcher{ask: link.ask, ending: link.ending, show: show, log: log, interval: o.interval}
	return w.run(ctx)
}

// printer writes each status after those before: lines of JSON, or blocks with
// an empty line between two.
func printer(out io.Writer, asJSON bool) func(*jobStatus) error {
	if asJSON {
		e := json.NewEncoder(out)
		return func(s *jobStatus) error { return e.Encode(s) }
	}
	between := ""
	return func(s *jobStatus) error {
		_, err := io.WriteString(out, between+s.text())
		between = "\n"
		return err
	}
}

// watcher shows how a job goes on.
type watcher struct {
	ask      func(context.Context) (*musterv1.StatusResponse, error)
	ending   <-chan ending // receives when the server has said that it ends
	show     func(*jobStatus) error
	log      *slog.Logger
	interval time.Duration
}

// farewell is how long a server that has stopped answering may take to have
// said that it ends: it says so and closes its connections at the same time, so
// that either may be noticed first.
const farewell = 500 * time.Millisecond

// impatience is the longest pause before a server that has not answered is
// asked again, so that one that comes is not missed for a long interval.
const impatience = 200 * time.Millisecond

// run shows a status every interval until the job is over or its server has
// ended. The end of ctx is how users stop watching: no fault.
func (w *watcher) run(ctx context.Context) error {
	var last *jobStatus // nil: none yet
	silent := false     // the user has been told that the server does not answer
	for {
		r, err := w.ask(ctx)
		var unanswered *noAnswerError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &unanswered):
			if silent {
				break
			}
			select {
			case end := <-w.ending:
				return w.over(last, end)
			case <-ctx.Done():
				return nil
			case <-time.After(farewell):
			}
			w.log.Warn("no parameter server answers; trying again", "address", unanswered.address, "err", unanswered.reason)
			silent = true
		case err != nil:
			return err
		default:
			if silent {
				w.log.Info("the parameter server answers")
				silent = false
			}
			last = statusOf(r)
			if err := w.show(last); err != nil {
				return err
			}
			if last.Phase == "failed" {
				return fmt.Errorf("the job has failed at step %d; its parameter server says why", last.Step)
			}
			if last.over() {
				return nil
			}
		}
		pause := w.interval
		if silent {
			pause = min(pause, impatience)
		}
		select {
		case <-time.After(pause):
		case end := <-w.ending:
			return w.over(last, end)
		case <-ctx.Done():
			return nil
		}
	}
}

// over says that the server has ended, which is how a job ends that was not seen
// done, and how it fails that was not seen failed.
func (w *watcher) over(last *jobStatus, end ending) error {
	seen := "nothing"
	if last != nil {
		seen = last.Phase + ", step " + last.progress()
	}
	if end.failed {
		return fmt.Errorf("the job has failed (last seen: %s); its parameter server says why", seen)
	}
	w.log.Info("the parameter server has ended", "seen", seen)
	return nil
}
