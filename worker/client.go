package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

const (
	maxMessageBytes = 1 << 30
	windowBytes     = 4 << 20          // a few chunks, for stream and connection alike
	joinTimeout     = 10 * time.Second // of one Join; a server that trains answers in between
	silence         = 5 * time.Second  // a connection that says nothing so long is probed
)

// Client is a Link over gRPC. It is used by one worker.
type Client struct {
	conn *grpc.ClientConn
	api  musterv1.MusterServiceClient
	o    DialOptions

	offer   *musterv1.JoinResponse // of a job, the last one; its memory
	sharing *sharing               // for the next stream; nil: none

	parts     []partLink     // to the servers of the job's other parts; nil: it has one
	receiving sync.WaitGroup // goroutines that receive from them, of the last stream
}

// DialOptions are what a client does beside calling its server.
type DialOptions struct {
	SharedMemory bool         // share memory with a server that can
	Log          *slog.Logger // nil: nobody
}

// Dial makes a client of the server at an address: host:port, or unix:///path.
// It does not connect yet.
func Dial(address string, o DialOptions) (*Client, error) {
	if err := CheckAddress(address); err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(windowBytes),
		experimental.WithBufferPool(wire.Frames{}),
		grpc.WithReadBufferSize(wire.ConnectionBytes),
		grpc.WithWriteBufferSize(wire.ConnectionBytes),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(wire.Codec{}), grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 2 * silence, Timeout: silence}),
	)
	if err != nil {
		return nil, fmt.Errorf("server %q: %w", address, err)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{conn: conn, api: musterv1.NewMusterServiceClient(conn), o: o}, nil
}

// CheckAddress refuses what is no address of a server, and what gRPC would take
// for the name of a host, or try for ever.
func CheckAddress(address string) error {
	if path, ok := strings.CutPrefix(address, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("server %q: want an absolute path, as in unix:///run/muster", address)
		}
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || strings.Contains(host, "/") {
		return fmt.Errorf("server %q: want host:port, or unix:///path", address)
	}
	return nil
}

// Close ends the connection.
func (c *Client) Close() error {
	c.unshare()
	err := c.conn.Close()
	for _, p := range c.parts {
		p.client.Close()
	}
	c.receiving.Wait()
	return err
}

// Join calls the server. A worker that introduces itself offers to share memory, if
// the server has offered its own and that can be mapped.
func (c *Client) Join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	c.unshare()
	if req.Job == "" {
		offer, err := c.join(ctx, req)
		c.offer = offer
		return offer, err
	}
	if memory := c.offer.GetShared(); c.o.SharedMemory && memory != nil {
		var err error
		if c.sharing, err = share(memory, int(c.offer.Job.Shards)); err != nil {
			c.o.Log.Debug("gradients and parameters go over the stream", "why", err)
		} else {
			req.Shared = c.sharing.sums.Offer()
			defer func() { req.Shared = nil }()
		}
	}
	response, err := c.join(ctx, req)
	if err == nil {
		err = c.joinParts(ctx, req, response.Parts)
	}
	if c.sharing == nil || err != nil {
		c.unshare()
		return response, err
	}
	switch memory := response.GetShared(); {
	case memory == nil:
		c.o.Log.Debug("gradients and parameters go over the stream", "why", "the server can't map this worker's memory")
		c.unshare()
	case !bytes.Equal(memory.Token, c.offer.Shared.Token):
		c.unshare()
		return nil, errors.New("another server answers than the one whose memory was mapped")
	}
	return response, nil
}

// unshare gives back memory of which no stream has been made.
func (c *Client) unshare() {
	if c.sharing != nil {
		c.sharing.close()
		c.sharing = nil
	}
}

func (c *Client) join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	// A connection that failed before is tried anew at once, not after gRPC's own pause.
	c.conn.ResetConnectBackoff()
	r, err := c.api.Join(ctx, req)
	if err != nil {
		return nil, asError(err)
	}
	// The server may have been stopped, and go on without knowing that another leads.
	if r.Term != 0 && r.Term < req.Term {
		return nil, fmt.Errorf("the server at %s has term %d, one of term %d leads", c.conn.Target(), r.Term, req.Term)
	}
	return r, nil
}

// Exchange opens the stream and says hello, to the servers of all parts.
func (c *Client) Exchange(ctx context.Context, hello *musterv1.Hello) (Stream, error) {
	c.receiving.Wait() // the stream before has ended
	stream, err := c.open(ctx, hello)
	if err != nil || len(c.parts) == 0 {
		return stream, err
	}
	return c.exchangeParts(ctx, stream, hello)
}

// open opens the stream to the one server.
func (c *Client) open(ctx context.Context, hello *musterv1.Hello) (Stream, error) {
	stream, err := c.api.Exchange(ctx)
	if err != nil {
		return nil, asError(err)
	}
	first := &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Hello{Hello: hello}}
	if err := stream.Send(first); err != nil {
		if errors.Is(err, io.EOF) {
			_, err = stream.Recv() // the stream has ended already: this tells why
		}
		return nil, asError(err)
	}
	s := &clientStream{stream: stream}
	if c.sharing != nil {
		s.sharing, s.shared = c.sharing, c.sharing.vectors()
		c.sharing = nil
	}
	return s, nil
}

// clientStream is a Stream over gRPC.
type clientStream struct {
	stream  grpc.BidiStreamingClient[musterv1.ExchangeRequest, musterv1.ExchangeResponse]
	sharing *sharing // nil: everything goes over the stream
	shared  *wire.Shared
	once    sync.Once
}

func (s *clientStream) Send(m *wire.Request) error {
	if s.sharing != nil {
		s.sharing.send(&m.Gradient)
	}
	return s.stream.SendMsg(m)
}

func (s *clientStream) Recv(m *wire.Response) error {
	if err := s.stream.RecvMsg(m); err != nil {
		return asError(err)
	}
	if s.sharing != nil {
		return s.sharing.receive(&m.Parameters)
	}
	return nil
}

func (s *clientStream) Shared() *wire.Shared { return s.shared }

// Close tells the server that nothing more will be sent.
func (s *clientStream) Close() error {
	s.once.Do(func() {
		if s.sharing != nil {
			s.sharing.close()
		}
	})
	return s.stream.CloseSend()
}

// asError makes the server's refusals ErrRefused.
func asError(err error) error {
	s, ok := status.FromError(err)
	if err == nil || !ok {
		return err
	}
	switch s.Code() {
	case codes.FailedPrecondition:
		return fmt.Errorf("%w: %s", ErrRefused, s.Message())
	case codes.Unimplemented:
		return fmt.Errorf("%w: what answers there is no parameter server of this version (%s)", ErrRefused, s.Message())
	case codes.Unavailable:
		return fmt.Errorf("not reachable: %s", s.Message())
	}
	return err
}
