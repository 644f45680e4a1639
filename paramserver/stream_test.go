package paramserver

import (
	"context"
	"testing"

	"google.golang.org/grpc"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// rawStream is a worker's stream by the generated code, whose every message the test makes.
type rawStream struct {
	grpc.BidiStreamingClient[musterv1.ExchangeRequest, musterv1.ExchangeResponse]
	t *testing.T
}

// openStream introduces a worker and says hello, with what it holds.
func openStream(t *testing.T, conn *grpc.ClientConn, req *musterv1.JoinRequest, have uint64) (rawStream, *musterv1.JoinResponse) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	api := musterv1.NewMusterServiceClient(conn)
	joined, err := api.Join(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := api.Exchange(ctx)
	if err != nil {
		t.Fatal(err)
	}
	s := rawStream{stream, t}
	s.send(&musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Hello{Hello: &musterv1.Hello{Session: joined.Session, HaveStepPlusOne: have}}})
	return s, joined
}

func (s rawStream) send(m *musterv1.ExchangeRequest) {
	s.t.Helper()
	if err := s.Send(m); err != nil {
		s.t.Fatal(err)
	}
}
