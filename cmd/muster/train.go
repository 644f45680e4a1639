package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/inprocess"
	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/monitor"
	"github.com/muster-train/muster/cmd/internal/serve"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/cmd/internal/work"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/telemetry"
	"github.com/muster-train/muster/paramserver"
	"github.com/muster-train/muster/worker"
)

type trainOptions struct {
	serve   serve.Options
	work    work.Options
	logs    logs.Options
	http    monitor.Options
	workers int
	json    bool
}

func trainCommand() *cobra.Command {
	var o trainOptions
	cmd := &cobra.Command{
		Use:   "train",
		Short: "Train on this machine: parameter server and workers in one go",
		Long: `Train runs a whole job on this machine: a parameter server and one worker in one
process, or real worker processes with --workers. An interrupted job goes on
where it was when the same command is given again.`,
		Example: `  muster train
  muster train --network lenet5 --epochs 5
  muster train --workers 2 --checkpoint-dir runs/two`,
		RunE: func(cmd *cobra.Command, _ []string) error { return train(cmd, &o) },
	}
	o.serve.Define(cmd.Flags())
	o.work.Define(cmd.Flags())
	settings.Group(cmd.Flags(), "Workers", func(fs *pflag.FlagSet) {
		fs.IntVar(&o.workers, "workers", 1, "`workers`: 1 in this process, more as processes of their own")
	})
	o.http.Define(cmd.Flags(), monitor.Off)
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print the result as one line of JSON")
	return cmd
}

func train(cmd *cobra.Command, o *trainOptions) error {
	log, console, err := o.logs.Open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	serving, err := o.config(cmd)
	if err != nil {
		return err
	}
	ctx := cmd.Context()

	// The data come before the server: they are what a new user waits for, or
	// lacks. Worker processes find them in the same place.
	cfg, release, err := o.work.Config(ctx, console, log)
	if err != nil {
		return err
	}
	defer release()
	began := time.Now()
	result, err := o.run(cmd, serving, cfg, console, log)
	if !o.json && (err == nil || errors.Is(err, paramserver.ErrStopped)) {
		if err := summarise(cmd.OutOrStdout(), serving, result, time.Since(began)); err != nil {
			return err
		}
	}
	return serve.Report(cmd.OutOrStdout(), o.json, serving.Job, result, err)
}

// config is the server that the flags describe.
func (o *trainOptions) config(cmd *cobra.Command) (paramserver.Config, error) {
	serving, err := o.serve.Config(cmd)
	if err != nil {
		return serving, err
	}
	if o.workers < 1 || o.workers > int(o.serve.Job.Shards) {
		return serving, settings.Usagef("%s %d: 1 to the number of shards, %d, are allowed", settings.Origin(cmd, "workers"), o.workers, o.serve.Job.Shards)
	}
	if serving.MinWorkers > o.workers {
		return serving, settings.Usagef("%s %d: with --workers %d, 1 to %d are allowed", settings.Origin(cmd, "min-workers"), serving.MinWorkers, o.workers, o.workers)
	}
	serving.SharedMemory = o.workers > 1
	return serving, nil
}

// run trains the job of serving to its end, with the data and the device of
// cfg, and shows its progress.
func (o *trainOptions) run(cmd *cobra.Command, serving paramserver.Config, cfg worker.Config, console *telemetry.Console, log *slog.Logger) (paramserver.Result, error) {
	ctx := cmd.Context()
	progress := telemetry.NewProgress(console, log, telemetry.Auto)
	defer progress.Close()
	serving.Log, serving.Progress = log, progress
	watch, err := o.http.Listen(cmd, log)
	if err != nil {
		return paramserver.Result{}, err
	}
	defer watch.Close()
	// Workers leave when the user stops the job; where steps are under way that the
	// server has applied parts of, once these are whole.
	leave := ctx
	if serving.Job.Sync != "" {
		stopped, stop := context.WithCancel(context.WithoutCancel(ctx))
		defer stop()
		leave, serving.Stopped = stopped, stop
	}
	host, err := serve.Open(ctx, serving, o.serve.Etcd)
	if err != nil {
		return paramserver.Result{}, err
	}
	defer host.Close()
	if err := host.Monitor(watch); err != nil {
		return paramserver.Result{}, err
	}
	log.Info("training", "job", paramserver.Describe(serving.Job), "data", cfg.Data.Name, "device", cfg.Device.Name(),
		"workers", o.workers, "checkpoints", serving.CheckpointDir)
	if o.workers == 1 {
		return trainHere(ctx, leave, host, cfg)
	}
	return trainProcesses(ctx, leave, cmd, o, host, cfg.Data, log)
}

// trainHere runs the worker in this process. The first of the two to fail ends
// the other; the server's end, in success or not, ends the worker's.
func trainHere(ctx, leave context.Context, host *serve.Host, cfg worker.Config) (paramserver.Result, error) {
	quiet := cfg
	quiet.Log = slog.New(warnings{cfg.Log.Handler()}) // of the rest the server tells
	w, err := worker.New(quiet, inprocess.Link(host.Server))
	if err != nil {
		return paramserver.Result{}, err
	}
	training, cancel := context.WithCancel(ctx)
	defer cancel()
	// The worker leaves with leave, and else when the server has ended the job.
	working, done := context.WithCancel(context.WithoutCancel(ctx))
	defer context.AfterFunc(leave, done)()
	failed := make(chan error, 1)
	go func() {
		err := w.Run(working)
		if err != nil && working.Err() == nil {
			cancel() // without its worker the job can't go on; its state is saved
		} else {
			err = nil
		}
		failed <- err
	}()
	result, err := host.Server.Run(training)
	done()
	switch cause := <-failed; {
	case errors.Is(cause, worker.ErrRefused):
		return result, settings.Usage(cause)
	case cause != nil && !errors.Is(cause, worker.ErrJobFailed):
		return result, cause
	}
	return result, err
}

// trainProcesses runs each worker as a process of its own, until leave ends.
func trainProcesses(ctx, leave context.Context, cmd *cobra.Command, o *trainOptions, host *serve.Host, data *dataset.Set, log *slog.Logger) (paramserver.Result, error) {
	listeners, err := serve.Listen([]string{"127.0.0.1:0"})
	if err != nil {
		return paramserver.Result{}, err
	}
	training, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	crew, err := startWorkers(cmd, o, data, listeners[0], cancel, log)
	if err != nil {
		listeners[0].Close()
		crew.stop()
		return paramserver.Result{}, err
	}
	defer context.AfterFunc(leave, crew.dismiss)()
	result, err := host.Run(training, listeners[0].Addr().String(), listeners)
	crew.stop()
	if cause := context.Cause(training); cause != nil && ctx.Err() == nil && result.Request == "" && (errors.Is(err, paramserver.ErrStopped) || errors.Is(err, context.Canceled)) {
		return result, cause
	}
	return result, err
}

// crew is the worker processes.
type crew struct {
	processes []*os.Process
	ties      []io.Closer // standard inputs: their end, as when this process dies, ends the workers
	waits     sync.WaitGroup
	stopping  atomic.Bool
}

// dismiss tells the processes to leave.
func (c *crew) dismiss() {
	c.stopping.Store(true)
	for _, tie := range c.ties {
		_ = tie.Close() // of one that has ended already it is no fault
	}
}

// errNoWorkers is why a job whose workers have all ended can't go on.
var errNoWorkers = errors.New("all workers have ended before the job; their messages are above")

// tooFew is why a job can't go on with the workers that are left, if it can't: nobody
// starts others.
func tooFew(left, of, needed int) error {
	switch {
	case left == 0:
		return errNoWorkers
	case left < needed:
		return fmt.Errorf("%d of %d workers are left, and --min-workers is %d; the state is saved, and the messages of those that have ended are above", left, of, needed)
	}
	return nil
}

func startWorkers(cmd *cobra.Command, o *trainOptions, data *dataset.Set, l net.Listener, cancel context.CancelCauseFunc, log *slog.Logger) (*crew, error) {
	c := &crew{}
	self, err := os.Executable()
	if err != nil {
		return c, err
	}
	level := o.logs.Level
	if level == "info" {
		level = "warn" // the server tells the same story
	}
	args := []string{
		"worker", "--until-input-ends", "--server", l.Addr().String(), "--job", o.serve.Job.Name, "--threads", strconv.Itoa(o.threads()),
		"--data", sourceOf(data), "--log-format", o.logs.Format, "--log-level", level,
	}
	ended := make(chan struct{}, o.workers)
	for range o.workers {
		p := exec.Command(self, args...)
		p.Env = workerEnvironment()
		tie, err := p.StdinPipe()
		if err != nil {
			return c, fmt.Errorf("start a worker: %w", err)
		}
		c.ties = append(c.ties, tie)
		p.Stdout, p.Stderr = io.Discard, cmd.ErrOrStderr()
		// A terminal's Ctrl-C is the server's to handle: it saves first.
		p.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := p.Start(); err != nil {
			return c, fmt.Errorf("start a worker: %w", err)
		}
		c.processes = append(c.processes, p.Process)
		c.waits.Go(func() {
			if err := p.Wait(); err != nil && !c.stopping.Load() {
				log.Warn("worker process ended", "pid", p.Process.Pid, "err", err)
			}
			ended <- struct{}{}
			if err := tooFew(o.workers-len(ended), o.workers, o.serve.MinWorkers); err != nil {
				cancel(err)
			}
		})
	}
	return c, nil
}

// threads is how many each worker has.
func (o *trainOptions) threads() int {
	if o.work.Threads == 0 {
		return max(1, runtime.NumCPU()/o.workers)
	}
	return o.work.Threads
}

// sourceOf is how a worker process comes by the very images that are open here,
// without looking for them again.
func sourceOf(data *dataset.Set) string {
	if data.Synthetic {
		return "synthetic"
	}
	return data.Source
}

// stop ends the processes that are still there, and waits for all.
func (c *crew) stop() {
	patience := time.AfterFunc(10*time.Second, func() {
		for _, p := range c.processes {
			_ = p.Kill() // one that has ended already is no fault
		}
	})
	defer patience.Stop()
	c.dismiss()
	c.waits.Wait()
}
