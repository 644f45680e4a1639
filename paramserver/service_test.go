package paramserver

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// serve runs a server behind a unix socket and returns a connection to it.
func serve(t *testing.T, cfg Config) (*running, *grpc.ClientConn) {
	t.Helper()
	r := run(t, newServer(t, cfg))
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- r.Serve(ctx, l) }()
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	return r, conn
}

// The unary calls are a whole protocol: Join, then Pull and Push, until done.
func TestAJobIsTrainedByUnaryCallsAlone(t *testing.T) {
	for _, encoding := range []wire.Encoding{wire.F32, wire.BF16, wire.INT8} {
		t.Run(encoding.String(), func(t *testing.T) {
			t.Parallel()
			trainByUnaryCalls(t, encoding)
		})
	}
}

func trainByUnaryCalls(t *testing.T, encoding wire.Encoding) {
	cfg := testConfig(t)
	cfg.Job.Encoding = encoding.String()
	r, conn := serve(t, cfg)
	api := musterv1.NewMusterServiceClient(conn)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	joined, err := api.Join(ctx, joinRequest(r.Server, "w"))
	if err != nil {
		t.Fatal(err)
	}
	if joined.Data.GetFingerprint() != testData.Fingerprint || joined.Job.Network != "lenet5" {
		t.Errorf("Join told %v", joined)
	}
	values := make([]float32, r.network.Layout.Size())
	for step := uint64(0); step < 3; {
		pulled, err := api.Pull(ctx, &musterv1.PullRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Decode(values, pulled.Parameters[0]); err != nil {
			t.Fatal(err)
		}
		if pulled.Step != step {
			continue // the server has not published the step yet
		}
		push := &musterv1.PushRequest{Session: joined.Session, Tallies: &musterv1.Tallies{Step: step, Kind: kindGradient}}
		for shard := range 2 {
			n := images(r.Server, shard, int(step))
			if n == 0 {
				continue
			}
			push.Tallies.Tallies = append(push.Tallies.Tallies, &musterv1.Tally{Shard: uint32(shard), Images: uint32(n), Loss: 1})
			for i := range values {
				values[i] = gradient(shard, step)
			}
			sent := wire.Gradient{Step: step, First: uint32(shard), End: uint32(shard) + 1, Payload: wire.Encode(encoding.Gradients(), values)}
			g := sent.Message()
			if wire.Decode(values, g) != nil || values[0] != gradient(shard, step) {
				t.Fatalf("%v changes the gradient: the test wants one that it doesn't", encoding)
			}
			push.Gradients = append(push.Gradients, g)
		}
		answer, err := api.Push(ctx, push)
		if err != nil || len(answer.Refusals) != 0 {
			t.Fatalf("Push at step %d = %v, %v", step, answer, err)
		}
		step++
	}
	for s := uint64(0); s < 3; {
		st, err := api.Status(ctx, &musterv1.StatusRequest{})
		if err != nil {
			t.Fatal(err)
		}
		s = st.Step
	}
	answer, err := api.Push(ctx, &musterv1.PushRequest{Session: joined.Session, Tallies: &musterv1.Tallies{Step: 3, Kind: kindEvaluate, Tallies: []*musterv1.Tally{
		{Shard: 0, Images: 2, Loss: 1}, {Shard: 1, Images: 2, Loss: 1},
	}}})
	if err != nil || len(answer.Refusals) != 0 {
		t.Fatalf("Push of the evaluation = %v, %v", answer, err)
	}
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}

func TestPushTellsWhatDidNotCount(t *testing.T) {
	r, conn := serve(t, testConfig(t))
	api := musterv1.NewMusterServiceClient(conn)
	joined, err := api.Join(t.Context(), joinRequest(r.Server, "w"))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := api.Push(t.Context(), &musterv1.PushRequest{Session: joined.Session, Gradients: []*musterv1.GradientChunk{
		wire.NewGradientChunk(9, 0, 1, 0, make([]float32, r.network.Layout.Size())),
	}})
	if err != nil || len(answer.Refusals) != 1 || answer.Refusals[0].Reason != musterv1.RefusalReason_REFUSAL_REASON_FUTURE {
		t.Errorf("Push = %v, %v; want one refusal as future", answer, err)
	}
	if _, err := api.Push(t.Context(), &musterv1.PushRequest{Session: 99}); err == nil {
		t.Error("Push of an unknown session was accepted")
	}
	if _, err := api.Pull(t.Context(), &musterv1.PullRequest{Chunks: []uint32{7}}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("Pull of chunk 7 = %v, want InvalidArgument", err)
	}
	req := joinRequest(r.Server, "other")
	req.Layout = "abc"
	if _, err := api.Join(t.Context(), req); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "layout") {
		t.Errorf("Join with another layout = %v, want FailedPrecondition", err)
	}
}

func TestToolsSaveAndStopTheJob(t *testing.T) {
	r, conn := serve(t, testConfig(t))
	api := musterv1.NewMusterServiceClient(conn)
	if _, err := api.Checkpoint(t.Context(), &musterv1.CheckpointRequest{}); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Checkpoint before any worker = %v, want FailedPrecondition", err)
	}
	p := newPuppet(t, r.Server, "w")
	p.obey(next(t, p))
	next(t, p)
	saved, err := api.Checkpoint(t.Context(), &musterv1.CheckpointRequest{})
	if err != nil || saved.Step != 1 || !strings.HasSuffix(saved.Path, "step-0000000001.ckpt") {
		t.Errorf("Checkpoint = %v, %v; want that of step 1", saved, err)
	}
	go p.toil()
	if _, err := api.Stop(t.Context(), &musterv1.StopRequest{Reason: "enough"}); err != nil {
		t.Errorf("Stop = %v", err)
	}
	if result, err := r.wait(t); err == nil || result.Step < 1 {
		t.Errorf("stopped at step %d with %v", result.Step, err)
	}
}

func TestHealthAndReflectionAreServed(t *testing.T) {
	_, conn := serve(t, testConfig(t))
	h, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || h.Status != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health = %v, %v", h, err)
	}
	stream, err := reflectionv1.NewServerReflectionClient(conn).ServerReflectionInfo(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := &reflectionv1.ServerReflectionRequest{MessageRequest: &reflectionv1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	answer, err := stream.Recv()
	if err != nil || !strings.Contains(answer.String(), "muster.v1.MusterService") {
		t.Errorf("reflection = %v, %v; want muster.v1.MusterService", answer, err)
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
}

// A stream that is cut costs nothing but a new one.
func TestAStreamOverGRPCMayBeCut(t *testing.T) {
	r, conn := serve(t, testConfig(t))
	api := musterv1.NewMusterServiceClient(conn)
	joined, err := api.Join(t.Context(), joinRequest(r.Server, "w"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cut := context.WithCancel(t.Context())
	stream, err := api.Exchange(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Hello{Hello: &musterv1.Hello{Session: joined.Session}}}); err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Recv(); err != nil || m.GetAssignment() == nil {
		t.Fatalf("first message %v, %v; want the assignment", m, err)
	}
	cut()
	newPuppet(t, r.Server, "w").toil() // the same worker again, another way
	result, err := r.wait(t)
	check(t, result, err, testJob(), 3)
}
