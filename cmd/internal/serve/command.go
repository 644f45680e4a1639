package serve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/monitor"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/telemetry"
	"github.com/muster-train/muster/paramserver"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Command is the paramserver command.
func Command() *cobra.Command {
	var o struct {
		Options
		parts     partOptions
		standby   bool
		logs      logs.Options
		port      uint16
		listen    []string
		advertise string
		http      monitor.Options
		json      bool
	}
	cmd := &cobra.Command{
		Use:   "paramserver",
		Short: "Own the parameters of one job: wait for workers, train, evaluate, checkpoint",
		Long: `Paramserver owns the parameters of one job. It waits for workers, asks each for
the gradients of its shards, applies them under one learning-rate schedule,
evaluates each epoch, writes checkpoints, and ends when the job is done.`,
		Example: `  paramserver --port 9000 --shards 8
  worker --shard 0/8      # and 1/8 to 7/8, on this machine or others

  paramserver --part 0/2                                            # two servers share the parameters
  paramserver --part 1/2 --coordinator localhost:9000 --port 9002   # the second, anywhere`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, console, err := o.logs.Open(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := o.parts.parse(cmd); err != nil {
				return err
			}
			addresses := o.listen
			if len(addresses) == 0 || cmd.Flags().Changed("port") {
				addresses = append([]string{fmt.Sprintf(":%d", o.port)}, addresses...)
			}
			if o.parts.index > 0 {
				return servePart(cmd, &partServer{partOptions: o.parts, job: o.Job.Name, etcd: o.Etcd, advertise: o.advertise, log: log}, addresses, &o.http)
			}
			cfg, err := o.Config(cmd)
			if err != nil {
				return err
			}
			if o.standby && len(o.Etcd) == 0 {
				return settings.Usagef("%s needs --etcd: the etcd inside a parameter server dies with it, and nobody could tell that a standby is to take its place", settings.Origin(cmd, "standby"))
			}
			if o.standby && cfg.Resume == "none" {
				return settings.Usagef("%s none: a standby goes on with the job that it follows; the server that leads may begin anew", settings.Origin(cmd, "resume"))
			}
			cfg.Parts = o.parts.count
			if err := cfg.Validate(); err != nil {
				return settings.Usage(err)
			}
			progress := telemetry.NewProgress(console, log, telemetry.Auto)
			defer progress.Close()
			listeners, err := Listen(addresses)
			if err != nil {
				return err
			}
			cfg.Log, cfg.Progress = log, progress
			if cfg.Linger {
				cfg.Done = func(r paramserver.Result) {
					progress.Close()
					if err := Report(cmd.OutOrStdout(), o.json, cfg.Job, r, nil); err != nil {
						log.Error("the result was not printed", "err", err)
					}
					log.Info("the job is done; answering until stopped")
				}
			}
			watch, err := o.http.Listen(cmd, log)
			if err != nil {
				closeAll(listeners)
				return err
			}
			defer watch.Close()
			if o.advertise == "" {
				o.advertise = reachable(listeners[0])
			}
			var asked watched
			if err := asked.serve(watch); err != nil {
				closeAll(listeners)
				return err
			}
			host, err := OpenLeading(cmd.Context(), cfg, o.Etcd, o.advertise, o.standby)
			if err != nil || host == nil {
				closeAll(listeners)
				return err
			}
			defer host.Close()
			asked.server.Store(host.Server)
			log.Info("parameter server ready", "job", paramserver.Describe(host.Config.Job), "address", o.advertise, "checkpoints", host.Config.CheckpointDir)
			result, err := host.Run(cmd.Context(), o.advertise, listeners)
			progress.Close()
			if cfg.Linger && err == nil {
				return nil // it has been reported
			}
			return Report(cmd.OutOrStdout(), o.json, cfg.Job, result, err)
		},
	}
	settings.Group(cmd.Flags(), "Address", func(fs *pflag.FlagSet) {
		fs.Uint16Var(&o.port, "port", 9000, "TCP `port` for workers, on all addresses of the machine")
		fs.StringArrayVar(&o.listen, "listen", nil, "`address` to listen on instead: host:port or unix:///path; may be repeated")
		fs.StringVar(&o.advertise, "advertise", "", "`address` that workers find in etcd (default: this machine's)")
	})
	o.http.Define(cmd.Flags(), ":9001")
	o.Define(cmd.Flags())
	o.DefineAlone(cmd.Flags())
	o.parts.define(cmd.Flags())
	settings.Group(cmd.Flags(), "Job", func(fs *pflag.FlagSet) {
		fs.BoolVar(&o.standby, "standby", false, "follow the server that leads the job, and take its place when it dies (needs --etcd)")
	})
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.json, "json", false, "print the result as one line of JSON")
	return cmd
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// Run serves listeners and trains the job to its end. address is where others
// reach the first of them.
func (h *Host) Run(ctx context.Context, address string, listeners []net.Listener) (paramserver.Result, error) {
	if err := h.Advertise(ctx, address); err != nil {
		closeAll(listeners)
		return paramserver.Result{}, err
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	training, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	served := make(chan error, 1)
	go func() {
		err := h.Server.Serve(serving, listeners...)
		if err != nil {
			cancel(err) // nobody can reach the job any more: save it and end
		}
		served <- err
	}()
	result, err := h.Server.Run(training)
	stop()
	if failed := <-served; failed != nil {
		err = fmt.Errorf("nobody can reach the job any more: %w", failed)
	}
	return result, err
}

// Report prints how a job ended, on out; a job that was stopped says how to
// go on, as the error.
func Report(out io.Writer, asJSON bool, job *musterv1.JobSpec, r paramserver.Result, err error) error {
	if err != nil && !errors.Is(err, paramserver.ErrStopped) {
		return err
	}
	stopped := err != nil
	if asJSON {
		line := map[string]any{
			"job": job.Name, "network": job.Network, "step": r.Step, "samples": r.Samples,
			"parameters_sha256": r.Hash, "checkpoint": r.Checkpoint, "synthetic": r.Synthetic, "done": !stopped,
			"images_per_second": r.Split.ImagesPerSecond(), "epochs": r.Epochs, "best": r.Best,
		}
		if c := r.Staleness; c != nil {
			line["staleness_mean"], line["staleness_max"], line["steps_ahead"] = c.Mean, c.Max, c.Ahead
		}
		if err := json.NewEncoder(out).Encode(line); err != nil {
			return err
		}
	} else if r.Hash != "" { // else the other parts have not told theirs
		if _, err := fmt.Fprintf(out, "parameters sha256:%s\n", r.Hash); err != nil {
			return err
		}
	}
	if !stopped {
		return nil
	}
	if r.Standbys > 0 && r.Request == "" && !asJSON {
		_, err := fmt.Fprintf(out, "stopped at step %d; a standby has the state and takes the job over\n", r.Step)
		return err
	}
	message := fmt.Sprintf("stopped at step %d", r.Step)
	if r.Torn {
		message += fmt.Sprintf(", with steps under way that did not become whole and are not saved; the same command goes on from step %d", r.Resumes)
	} else if r.Checkpoint != "" {
		message += fmt.Sprintf("; the state is saved in %s and the same command goes on from it", r.Checkpoint)
	}
	return &settings.Stopped{Message: message}
}
