package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
)

// ErrInUse is returned by Start for a directory that another process, or
// another Server of this one, uses.
var ErrInUse = errors.New("in use by another process")

// Server is a running etcd. It is safe for concurrent use.
type Server struct {
	etcd    *embed.Etcd
	cli     *clientv3.Client
	listen  address
	lock    *fileutil.LockedFile
	streams context.CancelFunc // ends the streams of clients outside
	closing *atomic.Bool       // what etcd says from now on is of no interest
	close   sync.Once
}

// Start runs an etcd on the files in c.Dir, which it creates if need be, and
// returns when it answers. ctx bounds the starting only. The caller must Close
// the server. Errors say what can't be used: a directory (in use, not writable,
// corrupt) or an address.
func Start(ctx context.Context, c Config, log *slog.Logger) (*Server, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: directory %s: %w", c.Dir, err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: directory %s: %w", c.Dir, err)
	}
	s, err := start(ctx, c, dir, log)
	if err != nil {
		lock.Close()
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	s.lock = lock
	return s, nil
}

// lockDir creates dir, for its user alone, and takes it for this Server.
func lockDir(dir string) (*fileutil.LockedFile, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, reason(err)
	}
	lock, err := fileutil.TryLockFile(filepath.Join(dir, "lock"), os.O_WRONLY|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, ErrInUse
	}
	return lock, reason(err)
}

// reason leaves out of err the path, which the caller names.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// start runs etcd in dir and waits until it is ready.
func start(ctx context.Context, c Config, dir string, log *slog.Logger) (*Server, error) {
	listen, err := c.address(dir)
	if err != nil {
		return nil, err
	}
	shrinkSegments()
	streaming, endStreams := context.WithCancel(context.Background())
	closing := new(atomic.Bool)
	if err := checkStore(dir); err != nil {
		endStreams()
		return nil, fmt.Errorf("start on the files in %s: %w", c.Dir, err)
	}
	etcd, err := launch(c.etcd(streaming, dir, listen, slog.New(hush{log.Handler(), closing})))
	if err != nil {
		endStreams()
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("address %s: already in use", c.ListenClient)
		}
		return nil, fmt.Errorf("start on the files in %s: %w", c.Dir, err)
	}
	s := &Server{etcd: etcd, listen: listen, streams: endStreams, closing: closing}
	select {
	case <-etcd.Server.ReadyNotify():
	case err := <-etcd.Err():
		s.Close()
		return nil, fmt.Errorf("start in %s: %w", c.Dir, err)
	case <-ctx.Done():
		s.Close()
		return nil, fmt.Errorf("start in %s: not ready: %w", c.Dir, ctx.Err())
	}
	s.cli = v3client.New(etcd.Server)
	return s, nil
}

// checkStore opens etcd's database, if there is one, and closes it again: etcd
// itself would end the process over one that can't be opened.
func checkStore(dir string) error {
	path := filepath.Join(dir, "member", "snap", "db")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return fmt.Errorf("database %s: %w", path, reason(err))
	}
	return db.Close()
}

// launch starts etcd. Where etcd gives up on files that it can't make sense of,
// it panics; that is an error here.
func launch(cfg *embed.Config) (etcd *embed.Etcd, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("etcd gave up: %v", p)
		}
	}()
	return embed.StartEtcd(cfg)
}

// Client returns the client within the process. It belongs to the Server, whose
// Close closes it.
func (s *Server) Client() *clientv3.Client { return s.cli }

// Endpoints returns where clients outside the process reach the server, as
// etcdctl --endpoints takes it.
func (s *Server) Endpoints() []string {
	return []string{s.listen.endpoint(s.etcd.Clients[0].Addr())}
}

// Close ends the server and its client, and returns when all is on disk and the
// directory may be used again. Calls after the first do nothing.
func (s *Server) Close() {
	s.close.Do(func() {
		s.closing.Store(true)
		if s.cli != nil {
			s.cli.Close()
		}
		// Otherwise etcd waits for the watches of clients outside to end.
		s.streams()
		s.etcd.Close()
		if s.lock != nil {
			s.lock.Close()
		}
	})
}
