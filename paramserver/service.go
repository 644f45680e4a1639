package paramserver

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

const (
	// maxMessageBytes bounds what a peer may make the server allocate: a Push or
	// Pull of a network's whole vector fits.
	maxMessageBytes = 1 << 30
	// windowBytes is the flow-control window of a stream and of a connection: a
	// few chunks, so that a sender need not wait for each.
	windowBytes = 4 << 20
	// silence is how long a connection may say nothing before it is probed, and
	// how long the answer may take.
	silence = 5 * time.Second
)

// Serve answers workers and tools on the listeners until ctx ends, with health
// and reflection beside the service; then it lets calls in progress finish for
// a moment. It returns the first listener's error, if one failed.
func (s *Server) Serve(ctx context.Context, listeners ...net.Listener) error {
	g := grpc.NewServer(
		grpc.ForceServerCodecV2(wire.Codec{}),
		grpc.MaxRecvMsgSize(maxMessageBytes),
		grpc.MaxSendMsgSize(maxMessageBytes),
		grpc.InitialWindowSize(windowBytes),
		grpc.InitialConnWindowSize(windowBytes),
		experimental.BufferPool(wire.Frames{}),
		grpc.ReadBufferSize(wire.ConnectionBytes),
		grpc.WriteBufferSize(wire.ConnectionBytes),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: silence, Timeout: silence}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
	)
	if s.part == nil {
		musterv1.RegisterMusterServiceServer(g, service{server: s})
		musterv1.RegisterPartsServiceServer(g, partsService{server: s})
		musterv1.RegisterStandbyServiceServer(g, standbyService{server: s})
	} else {
		musterv1.RegisterMusterServiceServer(g, partService{service{server: s}})
	}
	h := health.NewServer()
	h.SetServingStatus(musterv1.MusterService_ServiceDesc.ServiceName, healthv1.HealthCheckResponse_SERVING)
	healthv1.RegisterHealthServer(g, h)
	reflection.Register(g)

	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- g.Serve(l) }()
	}
	var first error
	ended := 0
	select {
	case <-ctx.Done():
	case first = <-failed:
		ended++
	}
	// Whoever watches the service's health is told whether it ends in good order.
	end := healthv1.HealthCheckResponse_NOT_SERVING
	if s.failed.Load() {
		end = healthv1.HealthCheckResponse_UNKNOWN
	}
	h.SetServingStatus(musterv1.MusterService_ServiceDesc.ServiceName, end)
	h.SetServingStatus("", healthv1.HealthCheckResponse_NOT_SERVING)
	graceful := make(chan struct{})
	go func() { g.GracefulStop(); close(graceful) }()
	select {
	case <-graceful:
	case <-time.After(2 * time.Second):
		g.Stop()
		<-graceful
	}
	for ; ended < len(listeners); ended++ {
		<-failed
	}
	return first
}

// service is the gRPC face of a Server.
type service struct {
	musterv1.UnimplementedMusterServiceServer
	server *Server
}

// asStatus gives errors the codes by which clients tell what is for good.
func asStatus(err error) error {
	var refusal *RefusedError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refusal):
		return status.Error(codes.FailedPrecondition, err.Error())
	case errors.Is(err, errOver), errors.Is(err, errAway), errors.Is(err, errSlow), errors.Is(err, errNotAssembled):
		return status.Error(codes.Unavailable, err.Error())
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}

func (v service) Join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	r, err := v.server.Join(ctx, req)
	return r, asStatus(err)
}

// Exchange serves one worker's stream: this goroutine sends, another receives.
func (v service) Exchange(stream grpc.BidiStreamingServer[musterv1.ExchangeRequest, musterv1.ExchangeResponse]) error {
	ctx := stream.Context()
	var first wire.Request
	if err := stream.RecvMsg(&first); err != nil {
		return err
	}
	defer first.Free() // where it is none
	hello := first.Message.GetHello()
	if hello == nil {
		return status.Error(codes.InvalidArgument, "exchange: the first message must be hello")
	}
	ses, err := v.server.sessionOf(ctx, hello.Session)
	if err != nil {
		return asStatus(err)
	}
	release, err := ses.attach(ctx, hello)
	if err != nil {
		return asStatus(err)
	}

	received := make(chan error, 1)
	go func() {
		var m wire.Request
		for {
			err := stream.RecvMsg(&m)
			if err == nil {
				err = ses.receive(ctx, &m)
			}
			if err != nil {
				received <- err
				ses.end()
				return
			}
		}
	}()
	err = func() error {
		var m wire.Response
		for {
			if err := ses.next(ctx, &m); err != nil {
				return err
			}
			if err := stream.SendMsg(&m); err != nil {
				return err
			}
		}
	}()

	// The other side closes after Done; one that doesn't is not waited for: the
	// end of this call ends its stream, and with it the receiver.
	left := false
	select {
	case end := <-received:
		left = errors.Is(end, errLeft)
		if !left && !errors.Is(end, io.EOF) {
			err = end
		}
	case <-time.After(2 * time.Second):
	}
	var refusal *RefusedError
	release(left || errors.As(err, &refusal)) // who is refused does not come back
	if errors.Is(err, io.EOF) {
		return nil
	}
	return asStatus(err)
}

func (v service) Push(ctx context.Context, req *musterv1.PushRequest) (*musterv1.PushResponse, error) {
	s := v.server
	ses, err := s.sessionOf(ctx, req.Session)
	if err != nil {
		return nil, asStatus(err)
	}
	if req.Tallies != nil {
		if err := s.do(ctx, func() { s.offerTallies(ses, req.Tallies) }); err != nil {
			return nil, asStatus(err)
		}
	}
	for _, g := range req.Gradients {
		if err := ses.receiveGradient(ctx, wire.GradientOf(g)); err != nil {
			return nil, asStatus(err)
		}
	}
	step, _ := s.store.At()
	ses.mu.Lock()
	defer ses.mu.Unlock()
	return &musterv1.PushResponse{Refusals: ses.refusals, Step: uint64(step)}, nil
}

func (v service) Pull(ctx context.Context, req *musterv1.PullRequest) (*musterv1.PullResponse, error) {
	s := v.server
	layout := s.network.Layout
	if len(req.Chunks) > layout.Chunks() {
		return nil, status.Errorf(codes.InvalidArgument, "pull: %d chunks: the vector has %d", len(req.Chunks), layout.Chunks())
	}
	chunks := req.Chunks
	if len(chunks) == 0 {
		for c := range layout.Chunks() {
			chunks = append(chunks, uint32(c))
		}
	}
	version, err := s.pull(ctx)
	if err != nil {
		return nil, asStatus(err)
	}
	defer version.Release()
	r := &musterv1.PullResponse{Step: uint64(version.Step)}
	for _, c := range chunks {
		if int(c) >= layout.Chunks() {
			return nil, status.Errorf(codes.InvalidArgument, "pull: chunk %d: 0 to %d are allowed", c, layout.Chunks()-1)
		}
		values := slices.Clone(layout.Chunk(int(c)).Of(version.Parameters))
		r.Parameters = append(r.Parameters, wire.NewParametersChunk(uint64(version.Step), int(c), values))
	}
	return r, nil
}

func (v service) Status(ctx context.Context, _ *musterv1.StatusRequest) (*musterv1.StatusResponse, error) {
	r, err := v.server.Status(ctx)
	return r, asStatus(err)
}

func (v service) Stop(ctx context.Context, req *musterv1.StopRequest) (*musterv1.StopResponse, error) {
	r, err := v.server.Stop(ctx, req.Reason)
	return r, asStatus(err)
}

func (v service) Checkpoint(ctx context.Context, _ *musterv1.CheckpointRequest) (*musterv1.CheckpointResponse, error) {
	r, err := v.server.Checkpoint(ctx)
	return r, asStatus(err)
}
