package serve

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// A standby follows for days: nobody may restart it for that, nor lead workers to it.
func TestAServerThatDoesNotServeYetIsInHealthAndNotReady(t *testing.T) {
	var w watched
	r := prometheus.NewRegistry()
	r.MustRegister(statusCollector{w.status})
	if err := w.healthy(t.Context()); err != nil {
		t.Errorf("healthy = %v", err)
	}
	if err := w.ready(t.Context()); !errors.Is(err, errNotYet) {
		t.Errorf("ready = %v, want that it is not yet", err)
	}
	if families, err := r.Gather(); err != nil || len(families) != 0 {
		t.Errorf("%d families of metrics, %v; want none", len(families), err)
	}
}
