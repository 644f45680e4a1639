package cpu

import (
	"fmt"
	"runtime"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
)

// maxThreads bounds the number of threads of a device.
const maxThreads = 4096

// Device is a number of threads. It is safe for concurrent use; calls of
// different plans share the threads.
type Device struct {
	pool pool
}

var _ device.Device = (*Device)(nil)

// New returns a device of that many threads; 0 means one for each core that
// the process may use. It starts none of them.
func New(threads int) (*Device, error) {
	if threads < 0 || threads > maxThreads {
		return nil, fmt.Errorf("cpu: %d threads: want 1 to %d, or 0 for one on each core", threads, maxThreads)
	}
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	return &Device{pool: pool{threads: threads}}, nil
}

// Name returns the number of threads and the kernels in use: cpu/2 avx2.
func (d *Device) Name() string {
	return fmt.Sprintf("cpu/%d %s", d.pool.threads, kernel.Name())
}

// Compile binds g to d: it checks g and o, allocates all that the plan's calls
// need and starts d's threads if they are not running.
func (d *Device) Compile(g *device.Graph, o device.Options) (device.Plan, error) {
	if err := checkGraph(g, o); err != nil {
		return nil, fmt.Errorf("cpu: compile: %w", err)
	}
	if err := d.pool.start(); err != nil {
		return nil, fmt.Errorf("cpu: compile: %w", err)
	}
	p, err := newPlan(&d.pool, g, o)
	if err != nil {
		return nil, fmt.Errorf("cpu: compile: %w", err)
	}
	return p, nil
}

// Close ends d's threads and waits for them. Its plans must be closed before.
// Closing a second time does nothing.
func (d *Device) Close() error {
	d.pool.stop()
	return nil
}
