package work

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/telemetry"
)

// TestAFailedDownloadIsAFaultAndWrongNamesAreNot: a supervisor tries the first
// again, and the second never.
func TestAFailedDownloadIsAFaultAndWrongNamesAreNot(t *testing.T) {
	t.Setenv("MUSTER_DATA", "")
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>Please log in</html>"))
	}))
	defer proxy.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name   string
		o      DataOptions
		status int
	}{
		{"another page than the archive", DataOptions{Source: "cifar10", Address: proxy.URL, Cache: t.TempDir()}, settings.StatusFault},
		{"nobody there", DataOptions{Source: "cifar10", Address: gone.URL, Cache: t.TempDir()}, settings.StatusFault},
		{"no address", DataOptions{Source: "cifar10", Address: "here", Cache: t.TempDir()}, settings.StatusUsage},
		{"no such directory", DataOptions{Source: "nowhere"}, settings.StatusUsage},
		{"a directory without images", DataOptions{Source: t.TempDir()}, settings.StatusUsage},
	} {
		var said bytes.Buffer
		_, err := tc.o.Open(t.Context(), telemetry.NewConsole(&said), slog.New(slog.DiscardHandler))
		if settings.Status(err) != tc.status {
			t.Errorf("%s: %v, status %d, want %d", tc.name, err, settings.Status(err), tc.status)
		}
	}
}

// TestWorkerStoppedWhileItDownloadsSaysSo has a server that never answers.
func TestWorkerStoppedWhileItDownloadsSaysSo(t *testing.T) {
	t.Setenv("MUSTER_DATA", "")
	ctx, stop := context.WithCancel(t.Context())
	asked := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		stop()
		close(asked)
		<-r.Context().Done()
	}))
	defer server.Close()
	cmd := Command()
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs([]string{"--data", "cifar10", "--data-url", server.URL, "--data-cache", t.TempDir()})
	if status := settings.Main(ctx, cmd); status != settings.StatusStopped || !strings.Contains(out.String(), "stopped before the images were there") {
		t.Errorf("status %d, %q", status, out.String())
	}
	<-asked
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Error("the worker ended before it was stopped")
	}
}
