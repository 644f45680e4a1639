package work

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/logs"
	"github.com/muster-train/muster/cmd/internal/monitor"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/telemetry"
	"github.com/muster-train/muster/model/device/cpu"
	"github.com/muster-train/muster/worker"
)

// leaseTTL is how long a worker with a lease of its own keeps its shards once
// it is lost.
const leaseTTL = 5 * time.Second

// Options are the flags of a worker.
type Options struct {
	Data    DataOptions
	Threads int
}

// Define defines the flags that `muster train` takes too.
func (o *Options) Define(flags *pflag.FlagSet) {
	o.Data.Define(flags)
	o.DefineDevice(flags)
}

// DefineDevice defines those that say what to compute on.
func (o *Options) DefineDevice(flags *pflag.FlagSet) {
	settings.Group(flags, "Device", func(fs *pflag.FlagSet) {
		fs.IntVar(&o.Threads, "threads", 0, "CPU `threads` of a worker (0: all cores)")
	})
}

// Device opens the device.
func (o *Options) Device() (*cpu.Device, error) {
	if err := kernel.Check(); err != nil {
		return nil, settings.Usage(err)
	}
	d, err := cpu.New(o.Threads)
	return d, settings.Usage(err)
}

// Config is a worker's configuration with a fresh identity.
func (o *Options) Config(ctx context.Context, console *telemetry.Console, log *slog.Logger) (worker.Config, func(), error) {
	cfg := worker.DefaultConfig()
	device, err := o.Device()
	if err != nil {
		return cfg, nil, err
	}
	set, err := o.Data.Open(ctx, console, log)
	if err != nil {
		device.Close()
		return cfg, nil, err
	}
	cfg.Host, _ = os.Hostname() // for people; an unnamed machine is no fault
	cfg.ID = fmt.Sprintf("worker-%d-%s", os.Getpid(), strings.ToLower(rand.Text()[:6]))
	cfg.Data, cfg.Device, cfg.Log = set, device, log
	return cfg, func() { device.Close() }, nil
}

// Command is the worker command.
func Command() *cobra.Command {
	var o struct {
		Options
		logs    logs.Options
		server  string
		etcd    []string
		shard   string
		job     string
		sharing bool
		maxWait time.Duration
		http    monitor.Options
		tied    bool
	}
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Compute the gradients of shards for a parameter server",
		Long: `Worker computes gradients of shards and sends them to the parameter server. It
may start before the server: it waits, and ends when the job is done.`,
		Example: `  worker --shard 3/8                      # the fourth of eight shards
  worker --server 10.0.0.7:9000           # whatever shards it is assigned`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, console, err := o.logs.Open(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			pinned, err := ParseShard(o.shard)
			if err != nil {
				return settings.Usagef("%s: %w", settings.Origin(cmd, "shard"), err)
			}
			if len(o.etcd) > 0 && cmd.Flags().Changed("server") {
				return settings.Usagef("--server and --etcd exclude each other: with --etcd servers are discovered")
			}
			if o.maxWait < 0 {
				return settings.Usagef("%s %v: a time such as 10m is allowed, or 0 to wait for ever", settings.Origin(cmd, "max-wait"), o.maxWait)
			}
			dialing := worker.DialOptions{SharedMemory: o.sharing, Log: log}
			client, err := worker.Dial(o.server, dialing) // which does not connect yet
			if err != nil {
				return settings.Usage(err)
			}
			defer client.Close()
			if o.job != "" || len(o.etcd) > 0 {
				o.job = cmp.Or(o.job, "default")
				if err := membership.ValidateJob(o.job); err != nil {
					return settings.Usagef("%s: %w", settings.Origin(cmd, "job"), err)
				}
			}
			meter := meterCollector{&worker.Meter{}}
			watch, err := o.http.Listen(cmd, log)
			if err != nil {
				return err
			}
			defer watch.Close()
			if err := watch.Serve(meter, alive, meter.joined); err != nil {
				return err
			}
			ctx := cmd.Context()
			if o.tied {
				var cancel context.CancelFunc
				ctx, cancel = tied(ctx, cmd.InOrStdin())
				defer cancel()
			}
			cfg, release, err := o.Config(ctx, console, log)
			switch {
			case err != nil && ctx.Err() != nil:
				return &settings.Stopped{Message: "stopped before the images were there"}
			case err != nil:
				return err
			}
			defer release()
			cfg.Pinned, cfg.JobName, cfg.Meter, cfg.MaxWait = pinned, o.job, meter.meter, o.maxWait
			if len(o.etcd) > 0 {
				return discover(ctx, cfg, o.etcd, dialing)
			}
			err = Run(ctx, cfg, client)
			if ctx.Err() != nil && cmd.Context().Err() == nil {
				return nil // whoever started this worker has let it go
			}
			return err
		},
	}
	settings.Group(cmd.Flags(), "Job", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.server, "server", "localhost:9000", "`address` of the parameter server: host:port or unix:///path")
		fs.StringSliceVar(&o.etcd, "etcd", nil, "`URLs` of an etcd in which to find the server instead")
		fs.StringVar(&o.shard, "shard", "", "the one `shard` to work on, i/n counted from 0; auto/n takes i from JOB_COMPLETION_INDEX (default: what is assigned)")
		fs.BoolVar(&o.sharing, "shared-memory", true, "share memory with a server on this machine, so that gradients and parameters are not copied")
		fs.DurationVar(&o.maxWait, "max-wait", 0, "`time` for which the server, or etcd, may be out of reach, at first or since the connection was lost, before the worker ends with status 1 (0: for ever)")
		fs.StringVar(&o.job, "job", "", "`name` of the job to take part in (default: whatever the server trains)")
	})
	o.http.Define(cmd.Flags(), monitor.Off)
	o.Define(cmd.Flags())
	o.logs.Define(cmd.Flags())
	cmd.Flags().BoolVar(&o.tied, "until-input-ends", false, "stop when standard input ends, as it does when the process that started this one dies")
	_ = cmd.Flags().MarkHidden("until-input-ends") // the flag is there
	return cmd
}

// tied is a context that ends with ctx or with input.
func tied(ctx context.Context, input io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	// The read can't be broken off: it ends with the input or the process.
	go func() {
		_, _ = io.Copy(io.Discard, input)
		cancel()
	}()
	return ctx, cancel
}

// Run works until the job is done. A server's refusal is wrong use.
func Run(ctx context.Context, cfg worker.Config, link worker.Link) error {
	w, err := worker.New(cfg, link)
	if err != nil {
		return settings.Usage(err)
	}
	err = w.Run(ctx)
	switch {
	case errors.Is(err, worker.ErrRefused):
		return settings.Usage(err)
	case err != nil && ctx.Err() != nil:
		return &settings.Stopped{Message: "stopped; the shards were given back"}
	}
	return err
}

// discover finds the server in etcd, holds a lease of the worker's own there,
// and works.
func discover(ctx context.Context, cfg worker.Config, endpoints []string, dialing worker.DialOptions) error {
	client, err := membership.ConnectPatiently(ctx, endpoints, cfg.MaxWait, cfg.Log)
	switch {
	case err != nil && ctx.Err() != nil:
		return &settings.Stopped{Message: "stopped while waiting for etcd"}
	case errors.Is(err, membership.ErrAway):
		return err
	case err != nil:
		return settings.Usage(err)
	}
	defer client.Close()
	registry := membership.NewRegistry(client, cfg.JobName, leaseTTL, cfg.Log)
	member := membership.Member{ID: cfg.ID, Host: cfg.Host, Device: cfg.Device.Name(), Pinned: -1}
	if cfg.Pinned != nil {
		member.Pinned = cfg.Pinned.Index
	}
	cfg.Registered = true
	link := &roaming{registry: registry, member: member, log: cfg.Log, dialing: dialing}
	defer link.close(context.WithoutCancel(ctx))
	return Run(ctx, cfg, link)
}

// ParseShard parses --shard: "" is none, i/n a shard, auto/n the one of the
// Kubernetes Indexed Job that this process runs in.
func ParseShard(text string) (*dataset.Shard, error) {
	if text == "" {
		return nil, nil
	}
	if count, ok := strings.CutPrefix(text, "auto/"); ok {
		index := os.Getenv("JOB_COMPLETION_INDEX")
		if index == "" {
			return nil, fmt.Errorf("%q needs JOB_COMPLETION_INDEX, which is not set here", text)
		}
		text = index + "/" + count
	}
	s, err := dataset.ParseShard(text)
	if err != nil {
		return nil, err
	}
	return &s, nil
}
