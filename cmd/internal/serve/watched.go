package serve

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/muster-train/muster/cmd/internal/monitor"
	"github.com/muster-train/muster/paramserver"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// watched is what probes and metrics ask: the server, once there is one. A standby, or
// one that waits for etcd or reads its checkpoint, is in health, and not ready: workers
// would be led to it in vain.
type watched struct {
	server atomic.Pointer[paramserver.Server]
}

// errNotYet is why there is nothing to tell of the job.
var errNotYet = errors.New("this server doesn't serve the job yet")

func (w *watched) status(ctx context.Context) (*musterv1.StatusResponse, error) {
	s := w.server.Load()
	if s == nil {
		return nil, errNotYet
	}
	return s.Status(ctx)
}

// ready is in order as long as the server's loop answers: it takes workers in whenever it runs.
func (w *watched) ready(ctx context.Context) error {
	_, err := w.status(ctx)
	return err
}

func (w *watched) healthy(ctx context.Context) error {
	if err := w.ready(ctx); !errors.Is(err, errNotYet) {
		return err
	}
	return nil
}

// serve serves metrics and probes.
func (w *watched) serve(m *monitor.Monitor) error {
	return m.Serve(statusCollector{w.status}, w.healthy, w.ready)
}
