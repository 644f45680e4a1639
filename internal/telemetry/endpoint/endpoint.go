package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Paths that are answered.
const (
	PathMetrics = "/metrics"
	PathHealthy = "/healthz"
	PathReady   = "/readyz"
)

// probeTimeout is how long a probe may take. Whoever asks waits a second or a few.
const probeTimeout = 2 * time.Second

// collectTimeout is how long a collection of all metrics may take.
const collectTimeout = 10 * time.Second

// closeTimeout is how long answers in progress may take when Serve ends.
const closeTimeout = time.Second

// Probe tells whether something is in order: nil, or one sentence about what is
// not. It may be called from several goroutines at once.
type Probe func(ctx context.Context) error

// Handler answers the three paths, and tells their names at the root.
func Handler(metrics prometheus.Gatherer, healthy, ready Probe) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET "+PathMetrics, promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		// One collector that fails doesn't hide the metrics of the others.
		ErrorHandling: promhttp.ContinueOnError, CoalesceGather: true, Timeout: collectTimeout,
	}))
	mux.Handle("GET "+PathHealthy, answer(healthy))
	mux.Handle("GET "+PathReady, answer(ready))
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		plain(w, http.StatusOK, strings.Join([]string{PathMetrics, PathHealthy, PathReady}, "\n"))
	})
	return mux
}

// answer is 200 and ok, or 503 and what is not in order.
func answer(probe Probe) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), probeTimeout)
		defer cancel()
		err := probe(ctx)
		switch {
		case err == nil:
			plain(w, http.StatusOK, "ok")
		case errors.Is(err, context.DeadlineExceeded):
			plain(w, http.StatusServiceUnavailable, fmt.Sprintf("no answer within %v", probeTimeout))
		default:
			plain(w, http.StatusServiceUnavailable, err.Error())
		}
	}
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = fmt.Fprintln(w, text) // whoever asked may have gone
}

// Serve answers on l, which it closes, until ctx ends; then answers in progress
// are finished for a moment. It returns an error of the listener, if it failed.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	if s.Shutdown(closing) != nil {
		_ = s.Close() // its answers are cut off
	}
	<-failed
	return nil
}
