package paramserver

import (
	"context"
	"errors"
	"sync"

	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Local is a worker's way to a server in the same process. It is used by one
// worker: Join, then Exchange.
type Local struct {
	server *Server
}

// Local returns a way to s for one worker.
func (s *Server) Local() *Local { return &Local{server: s} }

// Join is Server.Join.
func (l *Local) Join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	return l.server.Join(ctx, req)
}

// Exchange opens the stream of the worker that has joined; it ends with ctx or Close.
func (l *Local) Exchange(ctx context.Context, hello *musterv1.Hello) (*LocalStream, error) {
	ses, err := l.server.sessionOf(ctx, hello.Session)
	if err != nil {
		return nil, err
	}
	ses.transport = transportProcess
	ctx, cancel := context.WithCancel(ctx)
	release, err := ses.attach(ctx, hello)
	if err != nil {
		cancel()
		return nil, err
	}
	return &LocalStream{ctx: ctx, cancel: cancel, session: ses, release: release}, nil
}

// LocalStream is an Exchange within the process: what is sent is received
// before Send returns, and payloads change hands as they are. All memory is shared:
// parameters are views of the server's vectors, gradients may be views too. In a job
// with relaxed synchronisation they are copies, encoded as over a connection.
type LocalStream struct {
	ctx     context.Context // of the stream: it has the life of one call to Exchange
	cancel  context.CancelFunc
	session *session
	release func(left bool)
	left    bool
	once    sync.Once
}

// Send hands a message to the server, with what it holds.
func (l *LocalStream) Send(m *wire.Request) error {
	if m.Gradient.Payload != nil {
		m.Gradient.Payload = wire.Decoded(m.Gradient.Payload)
	}
	err := l.session.receive(l.ctx, m)
	if errors.Is(err, errLeft) {
		l.left = true
		return nil
	}
	return err
}

// Recv sets m to the server's next message, whose payload is the caller's to
// free; io.EOF at the end.
func (l *LocalStream) Recv(m *wire.Response) error {
	err := l.session.next(l.ctx, m)
	if err == nil && m.Parameters.Payload != nil {
		m.Parameters.Payload = wire.Decoded(m.Parameters.Payload)
	}
	return err
}

// Shared is the server's vectors; nil where they change while they are read.
func (l *LocalStream) Shared() *wire.Shared {
	if !l.session.shares() {
		return nil
	}
	return &wire.Shared{Parameters: l.session.server.store.Vectors()}
}

// Close ends the stream.
func (l *LocalStream) Close() error {
	l.once.Do(func() {
		l.release(l.left)
		l.cancel()
	})
	return nil
}
