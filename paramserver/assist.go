package paramserver

import (
	"context"
	"errors"
	"io"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Both ends of the stream between the servers of a job's parts, over gRPC.

// partsService is what the server that coordinates is to the others.
type partsService struct {
	musterv1.UnimplementedPartsServiceServer
	server *Server
}

// Assist serves the server of a part: this goroutine sends, another receives.
func (v partsService) Assist(stream grpc.BidiStreamingServer[musterv1.AssistRequest, musterv1.AssistResponse]) error {
	s := v.server
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "assist: the first message must be hello")
	}
	a, err := s.enlist(stream.Context(), hello)
	if err != nil {
		var refusal *RefusedError
		if errors.As(err, &refusal) {
			return asStatus(err)
		}
		return status.Error(codes.Unavailable, err.Error()) // it may be free in a moment
	}
	defer s.discharge(a)
	go func() {
		for {
			m, err := stream.Recv()
			if err == nil {
				err = a.receive(m)
			}
			if err != nil {
				a.fail(err)
				a.poke()
				return
			}
		}
	}()
	return a.orders.deliver(stream.Context(), stream.Send, func(v Version) error {
		return sendState(v, a.own, a.layout, func(m *musterv1.PartState) error {
			return stream.Send(&musterv1.AssistResponse{Message: &musterv1.AssistResponse_State{State: m}})
		})
	})
}

// standbyService is what the server that leads is to standbys.
type standbyService struct {
	musterv1.UnimplementedStandbyServiceServer
	server *Server
}

// Follow serves a standby: this goroutine sends, another receives.
func (v standbyService) Follow(stream grpc.BidiStreamingServer[musterv1.FollowRequest, musterv1.FollowResponse]) error {
	s := v.server
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "follow: the first message must be hello")
	}
	f, err := s.follow(stream.Context(), hello)
	if err != nil {
		return asStatus(err)
	}
	defer s.unfollow(f)
	go func() {
		for {
			m, err := stream.Recv()
			if err == nil {
				err = f.receive(m)
			}
			if err != nil {
				f.orders.fail(err)
				f.poke()
				return
			}
		}
	}()
	all := chunkRange{0, s.network.Layout.Chunks()}
	return f.orders.deliver(stream.Context(), stream.Send, func(v Version) error {
		return sendState(v, all, s.network.Layout, func(m *musterv1.PartState) error {
			return stream.Send(&musterv1.FollowResponse{Message: &musterv1.FollowResponse_State{State: m}})
		})
	})
}

// partService is what the server of another part answers: workers that exchange with
// it. Whatever concerns the whole job is asked of the server that coordinates.
type partService struct{ service }

func (v partService) elsewhere() error {
	s := v.server
	return status.Errorf(codes.FailedPrecondition, "this server has part %s of job %q: ask the one that has part 0", s.part.name, s.job.Name)
}

func (v partService) Push(context.Context, *musterv1.PushRequest) (*musterv1.PushResponse, error) {
	return nil, v.elsewhere()
}

func (v partService) Pull(context.Context, *musterv1.PullRequest) (*musterv1.PullResponse, error) {
	return nil, v.elsewhere()
}

func (v partService) Status(context.Context, *musterv1.StatusRequest) (*musterv1.StatusResponse, error) {
	return nil, v.elsewhere()
}

func (v partService) Stop(context.Context, *musterv1.StopRequest) (*musterv1.StopResponse, error) {
	return nil, v.elsewhere()
}

func (v partService) Checkpoint(context.Context, *musterv1.CheckpointRequest) (*musterv1.CheckpointResponse, error) {
	return nil, v.elsewhere()
}

// dialServer makes a connection to another server, at host:port or unix:///path.
func dialServer(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithInitialWindowSize(windowBytes),
		grpc.WithInitialConnWindowSize(windowBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 2 * silence, Timeout: silence}),
	)
}

// DialLeading opens the stream of a standby to the server that leads. Refusals are *RefusedError.
func DialLeading(ctx context.Context, address string) (Leading, error) {
	conn, err := dialServer(address)
	if err != nil {
		return nil, err
	}
	stream, err := musterv1.NewStandbyServiceClient(conn).Follow(ctx)
	if err != nil {
		conn.Close()
		return nil, fromStatus(err)
	}
	return &following{conn, stream}, nil
}

// following is a Leading over gRPC.
type following struct {
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[musterv1.FollowRequest, musterv1.FollowResponse]
}

func (f *following) Send(m *musterv1.FollowRequest) error { return f.stream.Send(m) }

func (f *following) Recv() (*musterv1.FollowResponse, error) {
	m, err := f.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF // it says that the job is done before it ends the stream
	}
	return m, fromStatus(err)
}

func (f *following) Close() { f.conn.Close() }

// DialCoordinator opens the stream of a part's server to the one that coordinates.
// Refusals are *RefusedError.
func DialCoordinator(ctx context.Context, address string) (Coordinator, error) {
	conn, err := dialServer(address)
	if err != nil {
		return nil, err
	}
	stream, err := musterv1.NewPartsServiceClient(conn).Assist(ctx)
	if err != nil {
		conn.Close()
		return nil, fromStatus(err)
	}
	return &coordination{conn: conn, stream: stream}, nil
}

// coordination is a Coordinator over gRPC.
type coordination struct {
	conn   *grpc.ClientConn
	stream grpc.BidiStreamingClient[musterv1.AssistRequest, musterv1.AssistResponse]
	mu     sync.Mutex // held while sending
}

func (c *coordination) Send(m *musterv1.AssistRequest) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stream.Send(m)
}

func (c *coordination) Recv() (*musterv1.AssistResponse, error) {
	m, err := c.stream.Recv()
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF // it says that the job is done before it ends the stream
	}
	return m, fromStatus(err)
}

func (c *coordination) Close() { c.conn.Close() }

// fromStatus is the other way of asStatus.
func fromStatus(err error) error {
	s, ok := status.FromError(err)
	switch {
	case err == nil || !ok:
		return err
	case s.Code() == codes.FailedPrecondition:
		return &RefusedError{s.Message()}
	case s.Code() == codes.Unimplemented:
		return refused("what answers there is no parameter server of this version: %s", s.Message())
	}
	return errors.New(s.Message())
}
