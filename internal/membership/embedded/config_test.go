package embedded

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/muster-train/muster/internal/membership"
)

func TestEtcdIsSmallAndDurable(t *testing.T) {
	c := Config{Dir: "/d"}
	listen, err := c.address("/d")
	if err != nil {
		t.Fatal(err)
	}
	e := c.etcd(t.Context(), "/d", listen, quiet)
	if err := e.Validate(); err != nil {
		t.Fatal(err)
	}
	if e.UnsafeNoFsync {
		t.Error("writes are acknowledged before they are on disk")
	}
	if len(e.ListenPeerUrls)+len(e.ListenMetricsUrls) > 0 || len(e.ListenClientUrls) != 1 {
		t.Errorf("listens for peers at %v, metrics at %v, clients at %v", e.ListenPeerUrls, e.ListenMetricsUrls, e.ListenClientUrls)
	}
	if got := e.ListenClientUrls[0].String(); got != "unix:///d/etcd.sock" {
		t.Errorf("listens at %s", got)
	}
	if e.TickMs != 50 || e.ElectionMs != 500 || e.Name != "muster" || e.Dir != "/d" {
		t.Errorf("ticks of %d, elections of %d ms, name %q, directory %s", e.TickMs, e.ElectionMs, e.Name, e.Dir)
	}
}

// emptyStream is a grpc.ServerStream with nothing but a context.
type emptyStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s emptyStream) Context() context.Context { return s.ctx }

func TestStreamsEndWhenTheServerCloses(t *testing.T) {
	closing, closeAll := context.WithCancel(t.Context())
	stream := emptyStream{ctx: t.Context()}
	handled := endWith(closing)(nil, stream, nil, func(_ any, ss grpc.ServerStream) error {
		if ss.Context().Err() != nil {
			t.Error("the stream ended before the server closed")
		}
		closeAll()
		select {
		case <-ss.Context().Done():
		case <-deadline(t).Done():
			t.Error("the stream goes on after the server closed")
		}
		return ss.Context().Err()
	})
	if handled != context.Canceled {
		t.Errorf("the handler's error is %v", handled)
	}
	if stream.ctx.Err() != nil {
		t.Error("the connection's context ended too")
	}
}

func TestClosingIsSilentButForErrors(t *testing.T) {
	h := hush{slog.NewTextHandler(nil, nil), new(atomic.Bool)}
	for _, tc := range []struct {
		closing bool
		level   slog.Level
		want    bool
	}{
		{false, slog.LevelDebug, false},
		{false, slog.LevelWarn, true},
		{true, slog.LevelWarn, false},
		{true, slog.LevelError, true},
	} {
		h.closing.Store(tc.closing)
		if got := h.Enabled(t.Context(), tc.level); got != tc.want {
			t.Errorf("closing %v: %v is shown: %v", tc.closing, tc.level, got)
		}
	}
}

// etcd's monitor of versions runs beside the first commit of a new store.
func TestOfAVersionAskedForTooEarlyNothingIsSaid(t *testing.T) {
	const failed = "failed to update storage version"
	for _, tc := range []struct {
		message, err string
		said         bool
	}{
		{failed, "cannot detect storage schema version: missing term information", false},
		{failed, "no space left on device", true},
		{"failed to rotate a file", "missing term information", true},
	} {
		var said strings.Builder
		log := membership.ZapLogger(slog.New(hush{slog.NewTextHandler(&said, nil), new(atomic.Bool)}))
		log.Error(tc.message, zap.String("cluster-version", "3.7.0"), zap.Error(errors.New(tc.err)))
		if (said.Len() > 0) != tc.said {
			t.Errorf("of %q, %q it said %q; want anything said: %v", tc.message, tc.err, said.String(), tc.said)
		}
	}
}
