package endpoint

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/prometheus/client_golang/prometheus"
)

func fine(context.Context) error { return nil }

func get(h http.Handler, method, path string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

func TestProbesAnswerByStatus(t *testing.T) {
	broken := func(context.Context) error { return errors.New("no worker has joined") }
	h := Handler(prometheus.NewRegistry(), fine, broken)
	for _, tc := range []struct {
		method, path string
		status       int
		body         string
	}{
		{"GET", "/healthz", 200, "ok\n"},
		{"HEAD", "/healthz", 200, "ok\n"}, // what is sent of it is the server's matter
		{"GET", "/readyz", 503, "no worker has joined\n"},
		{"GET", "/", 200, "/metrics\n/healthz\n/readyz\n"},
		{"GET", "/metric", 404, "404 page not found\n"},
		{"POST", "/healthz", 405, "Method Not Allowed\n"},
	} {
		if status, body := get(h, tc.method, tc.path); status != tc.status || body != tc.body {
			t.Errorf("%s %s: %d %q, want %d %q", tc.method, tc.path, status, body, tc.status, tc.body)
		}
	}
}

// TestProbeThatHangsHasFailed in the time of a bubble, where it takes none.
func TestProbeThatHangsHasFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		if status, body := get(Handler(prometheus.NewRegistry(), hang, fine), "GET", "/healthz"); status != 503 || body != "no answer within 2s\n" {
			t.Errorf("%d %q", status, body)
		}
	})
}

func TestMetricsOfOneCollectorOutliveAnothersFault(t *testing.T) {
	r := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "good_total", Help: "Works."})
	c.Add(3)
	r.MustRegister(c, faulty{})
	status, body := get(Handler(r, fine, fine), "GET", "/metrics")
	if status != 200 || !strings.Contains(body, "good_total 3\n") {
		t.Errorf("%d %q", status, body)
	}
}

// faulty is a collector that has nothing to tell but an error.
type faulty struct{}

var desc = prometheus.NewDesc("bad", "Fails.", nil, nil)

func (faulty) Describe(ch chan<- *prometheus.Desc) { ch <- desc }
func (faulty) Collect(ch chan<- prometheus.Metric) {
	ch <- prometheus.NewInvalidMetric(desc, errors.New("no"))
}

func TestServeEndsWithItsContextAndFinishesAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked, goOn := make(chan struct{}), make(chan struct{})
	slow := func(context.Context) error { close(asked); <-goOn; return nil }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, Handler(prometheus.NewRegistry(), fine, slow)) }()
	answered := make(chan string, 1)
	go func() {
		r, err := http.Get("http://" + l.Addr().String() + PathReady)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer r.Body.Close()
		body, _ := io.ReadAll(r.Body)
		answered <- string(body)
	}()
	<-asked
	cancel()
	for { // until nobody is let in any more
		conn, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		conn.Close()
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Errorf("Serve = %v", err)
	}
	if body := <-answered; body != "ok\n" {
		t.Errorf("answered %q", body)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener is still there")
	}
}

func TestServeReturnsItsListenersError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := Serve(t.Context(), l, http.NotFoundHandler()); err == nil {
		t.Error("no error of a closed listener")
	}
}
