package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"google.golang.org/grpc"

	"github.com/muster-train/muster/internal/membership"
)

const (
	tickMs     = 50  // heartbeat: a server alone is ready after a few of them
	electionMs = 500 // etcd wants at least five ticks

	quotaBytes      = 64 << 20 // of the database; it also sizes its mapping
	snapshotEntries = 5000     // written between two snapshots
	segmentBytes    = 8 << 20  // of the log, set aside ahead of time
	keptRevisions   = "1000"   // older ones are compacted away

	// socketBytes is the length of a path that every system takes for a unix socket.
	socketBytes = 100
)

// Config says where an etcd keeps its files and listens.
type Config struct {
	// Dir is the directory of its files, and of nothing else; created if missing,
	// for its user alone.
	Dir string
	// Name is the name of the member, for logs and etcdctl; "": muster.
	Name string
	// ListenClient is where it listens for clients outside the process:
	// IP:port, port 0 for any free one, or unix:///path. "": a unix socket named
	// etcd.sock in Dir or, where that path is too long for a socket, any free port
	// of 127.0.0.1.
	ListenClient string
}

// shrinkSegments makes etcd set aside less of the disk for its log than the 64
// megabytes it takes otherwise. It is a variable of the whole process.
var shrinkSegments = sync.OnceFunc(func() { wal.SegmentSizeBytes = segmentBytes })

// Validate reports what of c can't be used.
func (c Config) Validate() error {
	if c.Dir == "" {
		return errors.New("no directory")
	}
	_, err := c.address(c.Dir)
	return err
}

// address is where a server listens: of network "unix" a path, of "tcp" IP:port.
type address struct{ network, name string }

// address returns where c listens, with its files in dir.
func (c Config) address(dir string) (address, error) {
	switch path, isPath := strings.CutPrefix(c.ListenClient, "unix://"); {
	case isPath && !filepath.IsAbs(path):
		return address{}, fmt.Errorf("address %s: want unix:// and an absolute path", c.ListenClient)
	case isPath:
		return address{"unix", path}, nil
	case c.ListenClient == "":
		if socket := filepath.Join(dir, "etcd.sock"); len(socket) <= socketBytes {
			return address{"unix", socket}, nil
		}
		return address{"tcp", "127.0.0.1:0"}, nil
	}
	host, _, err := net.SplitHostPort(c.ListenClient)
	if err != nil {
		return address{}, fmt.Errorf("address %s: want IP:port or unix:///path: %w", c.ListenClient, err)
	}
	if host != "localhost" && net.ParseIP(host) == nil {
		return address{}, fmt.Errorf("address %s: want an IP address before the port, not %q", c.ListenClient, host)
	}
	return address{"tcp", c.ListenClient}, nil
}

// url returns a as etcd takes it.
func (a address) url() url.URL {
	if a.network == "unix" {
		return url.URL{Scheme: "unix", Path: a.name}
	}
	return url.URL{Scheme: "http", Host: a.name}
}

// endpoint returns a as a client takes it, given the address that the listener
// has come to have.
func (a address) endpoint(listening net.Addr) string {
	if a.network == "unix" {
		return "unix://" + a.name
	}
	return "http://" + listening.String()
}

// etcd returns the configuration of an etcd of one member: small, quick to be
// ready, durable. It speaks to no peers and so listens for none. Streams of
// clients end with ctx.
func (c Config) etcd(ctx context.Context, dir string, listen address, log *slog.Logger) *embed.Config {
	e := embed.NewConfig()
	e.Name = c.Name
	if e.Name == "" {
		e.Name = "muster"
	}
	e.Dir = dir
	e.TickMs, e.ElectionMs = tickMs, electionMs
	e.QuotaBackendBytes = quotaBytes
	e.SnapshotCount, e.SnapshotCatchUpEntries = snapshotEntries, snapshotEntries/10
	e.MaxSnapFiles, e.MaxWalFiles = 2, 2
	e.AutoCompactionMode, e.AutoCompactionRetention = embed.CompactorModeRevision, keptRevisions
	e.EnableGRPCGateway = false

	client := listen.url()
	e.ListenClientUrls, e.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	// A member must have an address for peers, and a cluster its list of them.
	e.ListenPeerUrls = nil
	e.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "127.0.0.1:0"}}
	e.InitialCluster = e.InitialClusterFromName(e.Name)

	e.ZapLoggerBuilder = embed.NewZapLoggerBuilder(membership.ZapLogger(log))
	e.GRPCAdditionalServerOptions = []grpc.ServerOption{grpc.ChainStreamInterceptor(endWith(ctx))}
	return e
}

// endWith ends all streams when ctx ends.
func endWith(ctx context.Context) grpc.StreamServerInterceptor {
	return func(srv any, ss grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		streaming, cancel := context.WithCancel(ss.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		return handle(srv, stream{ss, streaming})
	}
}

// stream is a grpc.ServerStream with a context of its own.
type stream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stream) Context() context.Context { return s.ctx }

// hush is a log handler that falls silent, but for errors, once the server is
// being closed: etcd then reports the end of each of its listeners. And it
// leaves out what is no fault of a new store (see early).
type hush struct {
	slog.Handler
	closing *atomic.Bool
}

func (h hush) Enabled(ctx context.Context, level slog.Level) bool {
	return (level >= slog.LevelError || !h.closing.Load()) && h.Handler.Enabled(ctx, level)
}

func (h hush) Handle(ctx context.Context, r slog.Record) error {
	if early(r) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// early tells whether r reports that etcd looked for the version of its store
// before it had written a term there. It does, now and then, in the first tenth
// of a second of a new store's life; it looks again every few seconds.
func early(r slog.Record) bool {
	if r.Message != "etcd: failed to update storage version" {
		return false
	}
	found := false
	r.Attrs(func(a slog.Attr) bool {
		found = a.Key == "error" && strings.Contains(a.Value.String(), "missing term information")
		return !found
	})
	return found
}
