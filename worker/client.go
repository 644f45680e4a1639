package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
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

// Client is a Link over gRPC.
type Client struct {
	conn *grpc.ClientConn
	api  musterv1.MusterServiceClient
}

// Dial makes a client of the server at an address: host:port, or unix:///path.
// It does not connect yet.
func Dial(address string) (*Client, error) {
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
	return &Client{conn, musterv1.NewMusterServiceClient(conn)}, nil
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
func (c *Client) Close() error { return c.conn.Close() }

// Join calls the server.
func (c *Client) Join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	// A connection that failed before is tried anew at once, not after gRPC's own pause.
	c.conn.ResetConnectBackoff()
	r, err := c.api.Join(ctx, req)
	return r, asError(err)
}

// Exchange opens the stream and says hello.
func (c *Client) Exchange(ctx context.Context, hello *musterv1.Hello) (Stream, error) {
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
	return &clientStream{stream}, nil
}

// clientStream is a Stream over gRPC.
type clientStream struct {
	stream grpc.BidiStreamingClient[musterv1.ExchangeRequest, musterv1.ExchangeResponse]
}

func (s *clientStream) Send(m *wire.Request) error { return s.stream.SendMsg(m) }

func (s *clientStream) Recv(m *wire.Response) error { return asError(s.stream.RecvMsg(m)) }

// Shared is nil: the server is another process.
func (s *clientStream) Shared() *wire.Shared { return nil }

// Close tells the server that nothing more will be sent.
func (s *clientStream) Close() error { return s.stream.CloseSend() }

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
