// Package monitor is the flag --http of the programs: it opens the address and
// serves metrics, health and readiness there while the program runs.
package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/internal/telemetry/endpoint"
)

// Off is the address of a program that serves nothing.
const Off = "off"

// flag is the name of the flag.
const flag = "http"

// Options are the flag's value.
type Options struct{ Address string }

// Define defines the flag; address is its default, which others may use too: see Listen.
func (o *Options) Define(flags *pflag.FlagSet, address string) {
	settings.Group(flags, "Address", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.Address, flag, address, "`address` that serves /metrics (Prometheus), /healthz and /readyz; off: none")
	})
}

// Monitor serves at one address; a nil one does nothing.
type Monitor struct {
	listener net.Listener
	registry *prometheus.Registry
	log      *slog.Logger

	stop    context.CancelFunc // nil: not serving
	serving sync.WaitGroup
}

// Listen opens the address, so that one that can't be had is known at once. A
// default address that another process uses is passed over with a warning, and
// nil returned: nobody asked for it. The caller closes the Monitor.
func (o *Options) Listen(cmd *cobra.Command, log *slog.Logger) (*Monitor, error) {
	if o.Address == Off || o.Address == "" {
		return nil, nil
	}
	l, err := net.Listen("tcp", o.Address)
	switch {
	case err == nil:
	case cmd.Flags().Changed(flag):
		return nil, settings.Usagef("%s %q: %w", settings.Origin(cmd, flag), o.Address, reason(err))
	default:
		log.Warn("no metrics and probes; --http chooses another address", "address", o.Address, "err", reason(err))
		return nil, nil
	}
	r := prometheus.NewRegistry()
	r.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(cmd.Root().Name()),
	)
	return &Monitor{listener: l, registry: r, log: log}, nil
}

// reason is what the operating system said, without the address, which is named already.
func reason(err error) error {
	if op, ok := err.(*net.OpError); ok { //nolint:errorlint // net.Listen returns it as it is
		return op.Err
	}
	return err
}

// buildInfo tells which program this is.
func buildInfo(program string) prometheus.Collector {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "muster_build_info", Help: "1; which program answers, and of which build.",
		ConstLabels: prometheus.Labels{
			"program": program, "version": settings.Version(), "commit": settings.Commit(), "go": runtime.Version(), "kernels": kernel.Name(),
		},
	})
	info.Set(1)
	return info
}

// Serve starts to answer, with the metrics of c, if any, and the probes given.
func (m *Monitor) Serve(c prometheus.Collector, healthy, ready endpoint.Probe) error {
	if m == nil {
		return nil
	}
	if c != nil {
		if err := m.registry.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	var ctx context.Context
	ctx, m.stop = context.WithCancel(context.Background())
	m.serving.Go(func() {
		if err := endpoint.Serve(ctx, m.listener, endpoint.Handler(m.registry, healthy, ready)); err != nil {
			m.log.Warn("metrics and probes are no longer served", "err", err)
		}
	})
	m.log.Info("metrics and probes", "http", m.listener.Addr().String())
	return nil
}

// Close ends what Serve started, or closes the address that nothing came of.
func (m *Monitor) Close() {
	switch {
	case m == nil:
	case m.stop == nil:
		m.listener.Close()
	default:
		m.stop()
		m.serving.Wait()
	}
}
