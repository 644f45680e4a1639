package monitor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/muster-train/muster/cmd/internal/monitor/monitortest"
	"github.com/muster-train/muster/cmd/internal/settings"
)

func fine(context.Context) error { return nil }

// listen runs a program whose --http has a default and opens it; its log is text.
func listen(t *testing.T, byDefault string, args ...string) (m *Monitor, text string, err error) {
	t.Helper()
	var said bytes.Buffer
	var o Options
	cmd := &cobra.Command{Use: "program", RunE: func(cmd *cobra.Command, _ []string) error {
		m, err = o.Listen(cmd, slog.New(slog.NewTextHandler(&said, nil)))
		return nil
	}}
	o.Define(cmd.Flags(), byDefault)
	cmd.SetArgs(args)
	if status := settings.Main(t.Context(), cmd); status != settings.StatusDone {
		t.Fatalf("%q ended with %d", args, status)
	}
	t.Cleanup(m.Close)
	return m, said.String(), err
}

func TestMetricsAreServedUntilClosed(t *testing.T) {
	m, _, err := listen(t, Off, "--http", "127.0.0.1:0")
	if err != nil || m == nil {
		t.Fatal(m, err)
	}
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "x_total", Help: "X."})
	c.Add(7)
	if err := m.Serve(c, fine, func(context.Context) error { return errors.New("not yet") }); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/metrics": "x_total 7\n", "/healthz": "ok\n", "/readyz": "not yet\n"} {
		r, err := http.Get("http://" + m.listener.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %q, want %q", path, body, want)
		}
		if path == "/metrics" && !(strings.Contains(string(body), "go_goroutines") && strings.Contains(string(body), `muster_build_info{`) && strings.Contains(string(body), `program="program"`)) {
			t.Errorf("%s: %s", path, body)
		}
	}
	m.Close()
	if _, err := net.Dial("tcp", m.listener.Addr().String()); err == nil {
		t.Error("served after Close")
	}
}

func TestAddressThatIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()

	// Asked for: wrong use.
	_, _, err = listen(t, Off, "--http", taken)
	var usage *settings.UsageError
	if !errors.As(err, &usage) || !strings.Contains(err.Error(), taken) || !strings.Contains(err.Error(), "in use") {
		t.Errorf("%v, want a usage error that names %s", err, taken)
	}
	// By default: a warning, and the program goes on.
	m, said, err := listen(t, taken)
	if m != nil || err != nil || !strings.Contains(said, "--http chooses another") {
		t.Errorf("%v, %v, said %q", m, err, said)
	}
	if err := m.Serve(nil, nil, nil); err != nil {
		t.Error(err)
	}
}

func TestOffServesNothing(t *testing.T) {
	for _, args := range [][]string{{"--http", Off}, {"--http", ""}} {
		if m, said, err := listen(t, ":9001", args...); m != nil || err != nil || said != "" {
			t.Errorf("%q: %v, %v, said %q", args, m, err, said)
		}
	}
}

func TestBadAddressIsWrongUse(t *testing.T) {
	for _, address := range []string{"9001", "localhost:port", "256.0.0.1:1"} {
		_, _, err := listen(t, Off, "--http", address)
		if settings.Status(err) != settings.StatusUsage || !strings.Contains(err.Error(), address) {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestBuildInfoIsDocumented(t *testing.T) {
	monitortest.Documented(t, buildInfo("muster"), "../../../docs/metrics.md", "Every program")
}
