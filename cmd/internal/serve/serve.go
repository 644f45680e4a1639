package serve

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-train/muster/cmd/internal/monitor"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/internal/membership/embedded"
	"github.com/muster-train/muster/paramserver"
	"github.com/muster-train/muster/paramserver/checkpoint"
)

// leaseTTL is how long a worker that was lost keeps its shards.
const leaseTTL = 5 * time.Second

// Options are the flags of a server beside those of its job.
type Options struct {
	Job             JobOptions
	CheckpointDir   string
	CheckpointEvery string
	Keep            int
	Resume          string
	ShardTimeout    time.Duration
	WorkerTimeout   time.Duration
	Stragglers      string
	MinWorkers      int
	WhenDone        string
	SharedMemory    bool
	Etcd            []string
}

// What becomes of the shards of workers that are persistently slower than others.
const (
	stragglersMove = "move"
	stragglersKeep = "keep"
)

// What a server does once its job is done.
const (
	whenDoneExit = "exit"
	whenDoneWait = "wait"
)

// DefaultOptions are those of a server whose flags nobody gave.
func DefaultOptions() Options {
	var o Options
	o.Define(pflag.NewFlagSet("", pflag.ContinueOnError))
	return o
}

// Define defines the flags of the job and of the server that owns it, but for
// those of pinned workers.
func (o *Options) Define(flags *pflag.FlagSet) {
	o.ShardTimeout = paramserver.DefaultConfig().ShardTimeout
	o.Job.Define(flags)
	settings.Group(flags, "Checkpoints", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.CheckpointDir, "checkpoint-dir", "", "`directory` of the job's state (default ./muster-JOB)")
		fs.StringVar(&o.CheckpointEvery, "checkpoint-every", "60s", "`time or steps` between checkpoints within an epoch, e.g. 60s or 100steps; each epoch ends with one")
		fs.IntVar(&o.Keep, "keep", 3, "newest `checkpoints` to keep, beside the best one")
		fs.StringVar(&o.Resume, "resume", "auto", "`what` to go on from: auto (the newest checkpoint, if any), none, or a checkpoint's path")
	})
	settings.Group(flags, "Workers", func(fs *pflag.FlagSet) {
		fs.StringSliceVar(&o.Etcd, "etcd", nil, "`URLs` of an external etcd (default: one inside this process, its data in the checkpoint directory)")
		fs.DurationVar(&o.WorkerTimeout, "worker-timeout", paramserver.DefaultConfig().WorkerTimeout, "`time` that a connected worker may send nothing while its work is awaited, before others get its shards; let it be far longer than a step (0: for ever)")
		fs.IntVar(&o.MinWorkers, "min-workers", paramserver.DefaultConfig().MinWorkers, "`workers` that must be there for training to begin; with fewer left it pauses between two steps")
		settings.Enum(fs, &o.Stragglers, "stragglers", stragglersMove, []string{stragglersMove, stragglersKeep},
			"workers that are persistently slower than others: their shards move to these, or are kept")
	})
}

// DefineAlone defines the flags of a server that is a process of its own, which
// `muster train` has none of.
func (o *Options) DefineAlone(flags *pflag.FlagSet) {
	settings.Group(flags, "Workers", func(fs *pflag.FlagSet) {
		fs.BoolVar(&o.SharedMemory, "shared-memory", true, "share memory with workers on this machine, so that gradients and parameters are not copied")
		fs.DurationVar(&o.ShardTimeout, "shard-timeout", paramserver.DefaultConfig().ShardTimeout, "`time` that a pinned shard waits for its worker before another may take it")
	})
	settings.Group(flags, "Job", func(fs *pflag.FlagSet) {
		settings.Enum(fs, &o.WhenDone, "when-done", whenDoneExit, []string{whenDoneExit, whenDoneWait},
			"end with the job, or go on answering until stopped, for whoever would start an ended server again")
	})
}

// Host is a server put together, with what it stands on.
type Host struct {
	Server   *paramserver.Server
	Config   paramserver.Config
	registry *membership.Registry
	leading  *leadership // nil: there is no election, since etcd is within this process
	log      *slog.Logger
	closers  []func()
}

// Config is the server that the flags describe, checked but for what lies on
// disk: nothing is touched yet.
func (o *Options) Config(cmd *cobra.Command) (paramserver.Config, error) {
	cfg := paramserver.DefaultConfig()
	job, err := o.Job.Spec(cmd)
	if err != nil {
		return cfg, err
	}
	cfg.Job, cfg.CheckpointDir, cfg.Keep, cfg.Resume = job, o.CheckpointDir, o.Keep, o.Resume
	cfg.SharedMemory, cfg.WorkerTimeout = o.SharedMemory, o.WorkerTimeout
	cfg.KeepShards = o.Stragglers == stragglersKeep
	cfg.MinWorkers = o.MinWorkers
	cfg.ShardTimeout, cfg.MaxTime, cfg.Linger = o.ShardTimeout, o.Job.MaxTime, o.WhenDone == whenDoneWait
	if cfg.CheckpointDir == "" {
		cfg.CheckpointDir = "muster-" + job.Name
	}
	if cfg.CheckpointEvery, cfg.CheckpointSteps, err = every(o.CheckpointEvery); err != nil {
		return cfg, settings.Usagef("%s %w", settings.Origin(cmd, "checkpoint-every"), err)
	}
	return cfg, settings.Usage(cfg.Validate())
}

// Open makes a server: it reaches the etcd at endpoints, or starts one where
// there are none, and takes up the job's state. The caller closes it.
func Open(ctx context.Context, cfg paramserver.Config, endpoints []string) (*Host, error) {
	h := &Host{Config: cfg, log: cfg.Log}
	etcd, err := h.etcd(ctx, endpoints)
	if err != nil {
		h.Close()
		return nil, err
	}
	if err := h.open(membership.NewRegistry(etcd, cfg.Job.Name, leaseTTL, cfg.Log)); err != nil {
		return nil, err
	}
	return h, nil
}

// OpenLeading is Open for a server that leads the job by election, where etcd is
// external, and is reached at address. A standby follows who leads first, and takes its
// place; a nil Host without an error tells that the job was done meanwhile.
func OpenLeading(ctx context.Context, cfg paramserver.Config, endpoints []string, address string, follow bool) (*Host, error) {
	if len(endpoints) == 0 {
		return Open(ctx, cfg, endpoints)
	}
	h := &Host{Config: cfg, log: cfg.Log}
	etcd, err := h.etcd(ctx, endpoints)
	if err != nil {
		h.Close()
		return nil, err
	}
	leaders := membership.NewRegistry(etcd, cfg.Job.Name, leaderTTL, cfg.Log)
	self := membership.Server{ID: newID(), Address: address, Part: 0, Parts: cfg.Parts}
	if follow {
		b := &standby{cfg: cfg, registry: leaders, self: self, log: cfg.Log, grace: leadGrace}
		h.leading, h.Config.State, err = b.await(ctx)
	} else {
		var least uint64
		if least, err = termOf(cfg.CheckpointDir); err == nil {
			h.leading, err = takeLead(ctx, leaders, self, least, cfg.Log)
		}
	}
	var other *membership.LedError
	switch {
	case errors.As(err, &other):
		err = settings.Usagef("job %q is led by server %s at %s; --standby follows it, to take its place", cfg.Job.Name, other.ID, other.Address)
	case err != nil && ctx.Err() != nil:
		err = &settings.Stopped{Message: "stopped before this server led the job"}
	}
	if err != nil || h.leading == nil {
		h.Close()
		return nil, err
	}
	h.closers = append(h.closers, h.leading.give)
	h.Config.Term = h.leading.term
	if err := h.open(leaders.WithTTL(leaseTTL)); err != nil {
		return nil, err
	}
	h.leading.keep(h.Server)
	return h, nil
}

// newID is a name of a server process.
func newID() string { return "server-" + strings.ToLower(rand.Text()[:8]) }

// open makes the server over a registry; where it fails, the host is closed.
func (h *Host) open(registry *membership.Registry) error {
	h.registry = registry
	var err error
	if h.Server, err = paramserver.New(h.Config, registry); err != nil {
		h.Close()
		if errors.Is(err, paramserver.ErrOtherJob) || errors.Is(err, checkpoint.ErrNone) || errors.Is(err, fs.ErrNotExist) {
			err = settings.Usage(err)
		}
	}
	return err
}

// etcd reaches the etcd that was named, or starts one of its own.
func (h *Host) etcd(ctx context.Context, endpoints []string) (*clientv3.Client, error) {
	client, err := h.openEtcd(ctx, endpoints)
	switch {
	case err != nil && ctx.Err() != nil:
		err = &settings.Stopped{Message: "stopped before etcd was reached"}
	case err != nil:
		err = settings.Usage(err)
	}
	return client, err
}

func (h *Host) openEtcd(ctx context.Context, endpoints []string) (*clientv3.Client, error) {
	if len(endpoints) > 0 {
		// It may be away for a while, which a server that starts meanwhile waits for.
		client, err := membership.ConnectPatiently(ctx, endpoints, 0, h.log)
		if err != nil {
			return nil, err
		}
		h.closers = append(h.closers, func() { client.Close() })
		return client, nil
	}
	server, err := embedded.Start(ctx, embedded.Config{Dir: filepath.Join(h.Config.CheckpointDir, "etcd")}, h.log)
	if err != nil {
		return nil, err
	}
	h.closers = append(h.closers, server.Close)
	return server.Client(), nil
}

// Close ends what Open started, newest first.
func (h *Host) Close() {
	for i := len(h.closers) - 1; i >= 0; i-- {
		h.closers[i]()
	}
	h.closers = nil
}

// Advertise tells etcd where the server is reached, until Close.
func (h *Host) Advertise(ctx context.Context, address string) error {
	server := membership.Server{ID: newID(), Address: address, Part: 0, Parts: h.Config.Parts}
	lease, err := h.registry.Hold(ctx, func(ctx context.Context) (*membership.Lease, error) {
		return h.registry.RegisterServer(ctx, server)
	})
	if err != nil {
		return err
	}
	h.closers = append(h.closers, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := lease.Release(ctx); err != nil {
			h.log.Debug("the server's lease was not given back, it will run out", "err", err)
		}
	})
	return nil
}

// Monitor serves the server's metrics and probes.
func (h *Host) Monitor(m *monitor.Monitor) error {
	w := &watched{}
	w.server.Store(h.Server)
	return w.serve(m)
}

// Listen opens every address: host:port or unix:///path. A port in use is the
// user's matter to change.
func Listen(addresses []string) ([]net.Listener, error) {
	var listeners []net.Listener
	for _, address := range addresses {
		l, err := listen(address)
		if err != nil {
			for _, open := range listeners {
				open.Close()
			}
			return nil, settings.Usage(err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func listen(address string) (net.Listener, error) {
	network, at := "tcp", address
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		network, at = "unix", path
		// A socket that nobody answers is left over from a process that was killed.
		if conn, err := net.Dial(network, at); err == nil {
			conn.Close()
			return nil, fmt.Errorf("%s is in use by another process", address)
		}
		if info, err := os.Stat(at); err == nil && info.Mode()&os.ModeSocket != 0 {
			os.Remove(at)
		}
	}
	l, err := net.Listen(network, at)
	var op *net.OpError
	if errors.As(err, &op) {
		if strings.Contains(op.Err.Error(), "address already in use") {
			return nil, fmt.Errorf("%s is in use by another process; choose another with --port or --listen", address)
		}
		return nil, fmt.Errorf("listen on %q: %w", address, op.Err)
	}
	return l, err
}

// reachable is the address by which others reach a listener: that of the
// listener itself, or, where it takes any address, that of this machine.
func reachable(l net.Listener) string {
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return "unix://" + l.Addr().String()
	}
	host := tcp.IP.String()
	if tcp.IP.IsUnspecified() {
		host = "127.0.0.1"
		addresses, err := net.InterfaceAddrs()
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); err == nil && ok && ip.IP.IsGlobalUnicast() && ip.IP.To4() != nil {
				host = ip.IP.String()
				break
			}
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}
