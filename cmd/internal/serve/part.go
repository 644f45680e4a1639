package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/muster-train/muster/cmd/internal/monitor"
	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/membership"
	"github.com/muster-train/muster/paramserver"
)

// partOptions are the flags of a server that owns a part of a job's parameters.
type partOptions struct {
	part        string
	coordinator string

	index, count int // of part, once parsed
}

// define defines the flags.
func (o *partOptions) define(flags *pflag.FlagSet) {
	settings.Group(flags, "Parts", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.part, "part", "0/1", "`part` of the parameters that this server owns, i/p counted from 0, of p servers: 0/p has the job and coordinates, the others take all but their addresses from it")
		fs.StringVar(&o.coordinator, "coordinator", "localhost:9000", "`address` of the server of part 0/p, for the other parts (with --etcd it is found there)")
	})
}

// parse checks the flags; others than the first part take none that describe a job.
func (o *partOptions) parse(cmd *cobra.Command) error {
	var err error
	if o.index, o.count, err = parsePart(o.part); err != nil {
		return settings.Usagef("%s: %w", settings.Origin(cmd, "part"), err)
	}
	changed := func(name string) bool {
		return cmd.Flags().Changed(name) && settings.Origin(cmd, name) == "--"+name
	}
	if o.index == 0 {
		if changed("coordinator") {
			return settings.Usagef("--coordinator is for parts from 1/p on: part %s is the server that coordinates", o.part)
		}
		return nil
	}
	if changed("coordinator") && changed("etcd") {
		return settings.Usagef("--coordinator and --etcd exclude each other: with --etcd it is found")
	}
	// What a file or the environment has may be for all servers of the job.
	var without string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if without == "" && changed(f.Name) && !ofEveryPart[f.Name] {
			without = f.Name
		}
	})
	if without != "" {
		return settings.Usagef("--%s has no effect with --part %s: the server of part 0/%d has the job", without, o.part, o.count)
	}
	return nil
}

// ofEveryPart are the flags that servers of other parts than the first take too.
var ofEveryPart = map[string]bool{
	"part": true, "coordinator": true, "etcd": true, "job": true, "port": true, "listen": true, "advertise": true,
	"http": true, "log-format": true, "log-level": true, "config": true,
}

// parsePart parses i/p.
func parsePart(text string) (index, count int, err error) {
	i, n, ok := strings.Cut(text, "/")
	index, bad := strconv.Atoi(i)
	count, worse := strconv.Atoi(n)
	if !ok || bad != nil || worse != nil || index < 0 || index >= count || text != fmt.Sprintf("%d/%d", index, count) {
		return 0, 0, fmt.Errorf("part %q: want i/p counted from 0, as 1/2 for the second of two", text)
	}
	return index, count, nil
}

// partServer is the server of a part other than the first, put together.
type partServer struct {
	partOptions
	job       string
	etcd      []string
	advertise string
	listeners []net.Listener
	monitor   *monitor.Monitor
	log       *slog.Logger
}

// servePart serves a part at addresses until the job is done.
func servePart(cmd *cobra.Command, p *partServer, addresses []string, http *monitor.Options) error {
	var err error
	if p.listeners, err = Listen(addresses); err != nil {
		return err
	}
	if p.monitor, err = http.Listen(cmd, p.log); err != nil {
		closeAll(p.listeners)
		return err
	}
	defer p.monitor.Close()
	if p.advertise == "" {
		p.advertise = reachable(p.listeners[0])
	}
	return p.run(cmd.Context())
}

// run serves the part until the job is done.
func (p *partServer) run(ctx context.Context) error {
	var made atomic.Pointer[paramserver.Part]
	ready := func(ctx context.Context) error {
		part := made.Load()
		if part == nil {
			return errNotYet // it waits for etcd
		}
		return part.Ready(ctx)
	}
	if err := p.monitor.Serve(nil, alive, ready); err != nil {
		closeAll(p.listeners)
		return err
	}
	dial, release, err := p.finding(ctx)
	if err != nil {
		closeAll(p.listeners)
		return err
	}
	defer release()
	cfg := paramserver.PartConfig{Index: p.index, Count: p.count, Address: p.advertise, Log: p.log}
	part, err := paramserver.NewPart(cfg, dial, func(ctx context.Context, s *paramserver.Server) error {
		return s.Serve(ctx, p.listeners...)
	})
	if err != nil {
		closeAll(p.listeners)
		return settings.Usage(err)
	}
	defer closeAll(p.listeners) // where no job has come that they were served for
	made.Store(part)
	p.log.Info("parameter server of a part ready", "part", p.part, "address", p.advertise)
	err = part.Run(ctx)
	var refusal *paramserver.RefusedError
	switch {
	case errors.As(err, &refusal):
		return settings.Usage(err)
	case errors.Is(err, paramserver.ErrStopped):
		return &settings.Stopped{Message: fmt.Sprintf("stopped; job and workers wait for part %s, and then go on from the newest checkpoint", p.part)}
	}
	return err
}

// finding is how the server that coordinates is found.
func (p *partServer) finding(ctx context.Context) (dial func(context.Context) (paramserver.Coordinator, error), release func(), err error) {
	if len(p.etcd) == 0 {
		return func(ctx context.Context) (paramserver.Coordinator, error) {
			return paramserver.DialCoordinator(ctx, p.coordinator)
		}, func() {}, nil
	}
	var client *clientv3.Client
	if client, err = membership.ConnectPatiently(ctx, p.etcd, 0, p.log); err != nil {
		if ctx.Err() != nil {
			return nil, nil, &settings.Stopped{Message: "stopped before etcd was reached"}
		}
		return nil, nil, settings.Usage(err)
	}
	registry := membership.NewRegistry(client, p.job, leaseTTL, p.log)
	return func(ctx context.Context) (paramserver.Coordinator, error) {
		server, err := registry.WaitServer(ctx, 0)
		if err != nil {
			return nil, err
		}
		return paramserver.DialCoordinator(ctx, server.Address)
	}, func() { client.Close() }, nil
}

// alive is the probe of a process that answers.
func alive(context.Context) error { return nil }
