package worker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// fake is a server that does what its functions say.
type fake struct {
	musterv1.UnimplementedMusterServiceServer
	join     func(*musterv1.JoinRequest) (*musterv1.JoinResponse, error)
	exchange func(grpc.BidiStreamingServer[musterv1.ExchangeRequest, musterv1.ExchangeResponse]) error
}

func (f fake) Join(_ context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	return f.join(req)
}

func (f fake) Exchange(s grpc.BidiStreamingServer[musterv1.ExchangeRequest, musterv1.ExchangeResponse]) error {
	return f.exchange(s)
}

// socket is the path of a unix socket, short enough for one.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "worker")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

// serve serves f at path until the test's end, or what it returns is called.
func serve(t *testing.T, path string, f musterv1.MusterServiceServer) (stop func()) {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.MaxRecvMsgSize(maxMessageBytes), grpc.MaxSendMsgSize(maxMessageBytes))
	if f != nil {
		musterv1.RegisterMusterServiceServer(g, f)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = g.Serve(l) // it ends with Stop
	}()
	stop = func() { g.Stop(); <-ended }
	t.Cleanup(stop)
	return stop
}

func dial(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Dial("unix://"+path, DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestAnswersOfServersAreToldApart(t *testing.T) {
	for _, tc := range []struct {
		name    string
		answer  error
		refused bool
		want    string
	}{
		{"refusal", status.Error(codes.FailedPrecondition, "shard 3/4 does not fit"), true, "refused by the server: shard 3/4 does not fit"},
		{"another service", status.Error(codes.Unimplemented, "unknown method"), true, "no parameter server of this version (unknown method)"},
		{"gone", status.Error(codes.Unavailable, "the job has ended"), false, "not reachable: the job has ended"},
		{"fault", status.Error(codes.Internal, "etcd is away"), false, "etcd is away"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := socket(t)
			serve(t, path, fake{
				join: func(*musterv1.JoinRequest) (*musterv1.JoinResponse, error) { return nil, tc.answer },
				exchange: func(grpc.BidiStreamingServer[musterv1.ExchangeRequest, musterv1.ExchangeResponse]) error {
					return tc.answer
				},
			})
			c := dial(t, path)
			_, err := c.Join(limited(t), &musterv1.JoinRequest{})
			if err == nil || errors.Is(err, ErrRefused) != tc.refused || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Join = %v; want refused=%v, %q", err, tc.refused, tc.want)
			}
			stream, err := c.Exchange(limited(t), &musterv1.Hello{Session: 7})
			if err == nil {
				err = stream.Recv(new(wire.Response))
			}
			if err == nil || errors.Is(err, ErrRefused) != tc.refused || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Exchange = %v; want refused=%v, %q", err, tc.refused, tc.want)
			}
		})
	}
}

func TestOtherServiceAtTheAddressIsARefusal(t *testing.T) {
	path := socket(t)
	serve(t, path, nil)
	if _, err := dial(t, path).Join(limited(t), &musterv1.JoinRequest{}); !errors.Is(err, ErrRefused) {
		t.Errorf("Join = %v, want a refusal: nobody there knows the method", err)
	}
}

func TestAbsentServerIsNotARefusal(t *testing.T) {
	c := dial(t, socket(t))
	_, err := c.Join(limited(t), &musterv1.JoinRequest{})
	if err == nil || errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "not reachable") {
		t.Errorf("Join = %v, want one that says the server can't be reached", err)
	}
}

func TestDialTakesAddressesAlone(t *testing.T) {
	for _, tc := range []struct {
		address string
		ok      bool
	}{
		{"localhost:9000", true},
		{"10.0.0.7:9000", true},
		{"[::1]:9000", true},
		{":9000", true},
		{"unix:///run/muster", true},
		{"", false},
		{"localhost", false},
		{"localhost:", false},
		{"localhost:http", false},
		{"localhost:90000", false},
		{"a:1,b:2", false},
		{"http://localhost:9000", false},
		{"unix://relative/path", false},
		{"unix://", false},
	} {
		c, err := Dial(tc.address, DialOptions{})
		if err == nil {
			c.Close()
		}
		if (err == nil) != tc.ok || err != nil && !strings.Contains(err.Error(), strconv.Quote(tc.address)) {
			t.Errorf("Dial(%q) = %v, want ok=%v and the address named", tc.address, err, tc.ok)
		}
	}
}

// TestMessagesCrossTheStream sends to a server that knows the protocol alone:
// a whole chunk one way, a short one the other, whose memory is used again at once.
func TestMessagesCrossTheStream(t *testing.T) {
	path := socket(t)
	heard := make(chan *musterv1.ExchangeRequest, 4)
	large := make([]float32, params.ChunkValues)
	large[1] = 2
	serve(t, path, fake{exchange: func(s grpc.BidiStreamingServer[musterv1.ExchangeRequest, musterv1.ExchangeResponse]) error {
		for {
			m, err := s.Recv()
			if err == io.EOF {
				close(heard)
				return nil
			}
			if err != nil {
				return err
			}
			heard <- m
			if m.GetHello() != nil {
				p := wire.NewParametersChunk(5, 0, large)
				if err := s.Send(&musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Parameters{Parameters: p}}); err != nil {
					return err
				}
			}
		}
	}})
	stream, err := dial(t, path).Exchange(limited(t), &musterv1.Hello{Session: 7, HaveStepPlusOne: 4})
	if err != nil {
		t.Fatal(err)
	}
	if h := await(t, heard, "hello").GetHello(); h.GetSession() != 7 || h.GetHaveStepPlusOne() != 4 {
		t.Errorf("the first message was %v, want hello", h)
	}
	var m wire.Response
	if err := stream.Recv(&m); err != nil {
		t.Fatal(err)
	}
	p := m.Parameters
	if p.Step != 5 || p.Payload == nil || p.Payload.Check(len(large), musterv1.Encoding_ENCODING_F32) != nil || !sameBits(p.Payload.Floats(), large) {
		t.Errorf("received other parameters than were sent: %+v", p)
	}
	m.Free()
	sum := wire.GradientOf(wire.NewGradientChunk(5, 0, 1, 0, []float32{1, 2, 3}))
	if err := stream.Send(&wire.Request{Gradient: sum}); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		other := wire.NewPayload(3)
		clear(other.Floats())
		defer other.Free()
	}
	got := make([]float32, 3)
	if err := wire.Decode(got, await(t, heard, "a gradient").GetGradient()); err != nil || !sameBits(got, []float32{1, 2, 3}) {
		t.Errorf("the server heard %v, %v", got, err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	for range heard { // its closing is the server's end of stream
		t.Error("more was heard than was sent")
	}
	if err := stream.Recv(&m); err != io.EOF {
		t.Errorf("Recv = %v, want io.EOF", err)
	}
}

// script is a server's part in a whole job of one step, over gRPC.
func script(t *testing.T, end bool) fake {
	job := testJob()
	net := networkOf(t, job)
	return fake{
		join: func(*musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
			return &musterv1.JoinResponse{Job: job, JobHash: wire.JobHash(job), Session: 1}, nil
		},
		exchange: func(s grpc.BidiStreamingServer[musterv1.ExchangeRequest, musterv1.ExchangeResponse]) error {
			if _, err := s.Recv(); err != nil {
				return err
			}
			for _, m := range append(append([]*musterv1.ExchangeResponse{assigned(0, 1, 2, 3)}, loaded(net, 0)...), asked(gradientKind, 0)) {
				if err := s.Send(m); err != nil {
					return err
				}
			}
			for range 2 { // tallies, one node
				if _, err := s.Recv(); err != nil {
					return err
				}
			}
			if end {
				return s.Send(done(true, ""))
			}
			return status.Error(codes.Unavailable, "killed")
		},
	}
}

// TestWorkerOutlivesItsServer starts a worker before its server, which dies in
// the middle of the job and is started again at the same place.
func TestWorkerOutlivesItsServer(t *testing.T) {
	path := socket(t)
	cfg := testConfig(t)
	cfg.FirstWait, cfg.LongestWait = time.Millisecond, time.Millisecond
	said := make(chan string, 64)
	r := runTold(t, cfg, dial(t, path), said)
	hear := func(what string) {
		for {
			if s := await(t, said, what); s == what {
				return
			}
		}
	}
	hear("waiting for the server")
	stop := serve(t, path, script(t, false))
	hear("connection lost, joining again")
	stop()
	serve(t, path, script(t, true))
	if err := r.wait(t); err != nil {
		t.Errorf("Run = %v", err)
	}
}
