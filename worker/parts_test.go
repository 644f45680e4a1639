package worker

import (
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// played is a server of one part, which hands everything over to the test.
type played struct {
	address string
	hears   chan *musterv1.ExchangeRequest
	says    chan *musterv1.ExchangeResponse // closed: the stream ends
}

// playPart serves a part that answers its join as told.
func playPart(t *testing.T, session uint64, answer func(*musterv1.JoinRequest) (*musterv1.JoinResponse, error)) *played {
	t.Helper()
	path := socket(t)
	p := &played{"unix://" + path, make(chan *musterv1.ExchangeRequest, 100), make(chan *musterv1.ExchangeResponse)}
	serve(t, path, fake{
		join: func(req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
			if answer != nil {
				return answer(req)
			}
			return &musterv1.JoinResponse{Session: session}, nil
		},
		exchange: func(s grpc.BidiStreamingServer[musterv1.ExchangeRequest, musterv1.ExchangeResponse]) error {
			go func() {
				for {
					m, err := s.Recv()
					if err != nil {
						return
					}
					p.hears <- m
				}
			}()
			for {
				select {
				case m, ok := <-p.says:
					if !ok {
						return nil
					}
					if err := s.Send(m); err != nil {
						return err
					}
				case <-s.Context().Done():
					return nil
				}
			}
		},
	})
	return p
}

// newPlay serves a job of three parts, each of one chunk, and joins it.
func newPlay(t *testing.T) (parts [3]*played, stream Stream) {
	t.Helper()
	parts[1], parts[2] = playPart(t, 21, nil), playPart(t, 22, nil)
	parts[0] = playPart(t, 0, func(req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
		return &musterv1.JoinResponse{Session: 20, Parts: []*musterv1.PartRange{
			{End: 1}, {Address: parts[1].address, First: 1, End: 2}, {Address: parts[2].address, First: 2, End: 3},
		}}, nil
	})
	client := dial(t, strings.TrimPrefix(parts[0].address, "unix://"))
	ctx := limited(t)
	joined, err := client.Join(ctx, &musterv1.JoinRequest{Worker: "w", Job: "j"})
	if err != nil {
		t.Fatal(err)
	}
	if stream, err = client.Exchange(ctx, &musterv1.Hello{Session: joined.Session, HaveStepPlusOne: 6}); err != nil {
		t.Fatal(err)
	}
	for i, p := range parts {
		if h := (<-p.hears).GetHello(); h.GetSession() != uint64(20+i) || h.GetHaveStepPlusOne() != 6 {
			t.Errorf("part %d hears %v, want hello of its session, with what the worker has", i, h)
		}
	}
	return parts, stream
}

func gradientOf(chunk uint32) *wire.Request {
	return &wire.Request{Gradient: wire.Gradient{Step: 5, End: 1, Chunk: chunk, Payload: wire.NewPayload(3)}}
}

func TestWhatIsSentGoesToThePartThatHasIt(t *testing.T) {
	parts, stream := newPlay(t)
	if stream.Shared() != nil {
		t.Error("vectors of several processes are shared")
	}
	for _, chunk := range []uint32{2, 0, 1} {
		if err := stream.Send(gradientOf(chunk)); err != nil {
			t.Fatal(err)
		}
		if g := (<-parts[chunk].hears).GetGradient(); g.GetChunk() != chunk || g.GetStep() != 5 {
			t.Errorf("part %d hears %v, want its chunk", chunk, g)
		}
	}
	tallies := &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: &musterv1.Tallies{Step: 5}}}
	if err := stream.Send(&wire.Request{Message: tallies}); err != nil {
		t.Fatal(err)
	}
	if m := <-parts[0].hears; m.GetTallies().GetStep() != 5 {
		t.Errorf("the coordinator hears %v, want tallies", m)
	}
	if err := stream.Close(); err != nil {
		t.Error(err)
	}
}

func TestPartsAreAskedForTheParametersOfWork(t *testing.T) {
	parts, stream := newPlay(t)
	parts[0].says <- &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Work{Work: &musterv1.Work{Step: 7}}}
	var m wire.Response
	if err := stream.Recv(&m); err != nil || m.Message.GetWork().GetStep() != 7 {
		t.Fatalf("%v, %v; want the work", m.Message, err)
	}
	for _, p := range parts[1:] {
		if w := (<-p.hears).GetWant(); w == nil || w.Step != 7 {
			t.Errorf("a part hears %v, want that step 7 is wanted", w)
		}
	}
	// Parameters come from any of them.
	for _, i := range []int{2, 1} {
		parts[i].says <- &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Parameters{Parameters: wire.NewParametersChunk(7, i, []float32{1})}}
		if err := stream.Recv(&m); err != nil || int(m.Parameters.Chunk) != i {
			t.Fatalf("chunk %d, %v; want %d", m.Parameters.Chunk, err, i)
		}
		m.Free()
	}
}

// What it takes to compute again what a part has refused may have been replaced in
// all of them.
func TestTheCoordinatorHearsWhatAPartHasRefused(t *testing.T) {
	parts, stream := newPlay(t)
	refuse := func(reason musterv1.RefusalReason, step uint64) {
		parts[1].says <- &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Refusal{Refusal: &musterv1.Refusal{Reason: reason, Step: step}}}
		var m wire.Response
		if err := stream.Recv(&m); err != nil || m.Message.GetRefusal().GetStep() != step {
			t.Fatalf("%v, %v; want the refusal", m.Message, err)
		}
	}
	refuse(musterv1.RefusalReason_REFUSAL_REASON_STALE, 3) // which nobody computes again
	refuse(musterv1.RefusalReason_REFUSAL_REASON_MALFORMED, 4)
	if w := (<-parts[0].hears).GetWant(); w == nil || w.Step != 4 {
		t.Errorf("the coordinator hears %v, want that step 4 is wanted again", w)
	}
}

func TestTheEndOfOneStreamIsTheEndOfAll(t *testing.T) {
	parts, stream := newPlay(t)
	close(parts[2].says)
	var m wire.Response
	if err := stream.Recv(&m); !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(err.Error(), parts[2].address) {
		t.Errorf("%v, want the end of the part's stream, by its address", err)
	}
	parts, stream = newPlay(t)
	close(parts[0].says)
	if err := stream.Recv(&m); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v, want the end of the coordinator's stream as it is", err)
	}
}

func TestPartsAreJoinedWhereTheyAreNow(t *testing.T) {
	first, second := playPart(t, 1, nil), playPart(t, 2, nil)
	refusing := playPart(t, 3, func(*musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
		return nil, status.Error(codes.FailedPrecondition, "versions differ")
	})
	var at string // where part 1/2 is; empty: there is one part
	coordinator := playPart(t, 0, func(req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
		if at == "" {
			return &musterv1.JoinResponse{}, nil
		}
		return &musterv1.JoinResponse{Parts: []*musterv1.PartRange{{End: 1}, {Address: at, First: 1, End: 2}}}, nil
	})
	client := dial(t, strings.TrimPrefix(coordinator.address, "unix://"))
	req := &musterv1.JoinRequest{Worker: "w", Job: "j"}
	for _, c := range []struct {
		at      string
		want    uint64 // session; 0: an error
		refusal bool
	}{
		{first.address, 1, false},
		{first.address, 1, false},
		{second.address, 2, false},
		{"unix:///nowhere/at/all", 0, false}, // to be tried again
		{refusing.address, 0, true},
		{"no address", 0, false},
		{first.address, 1, false},
	} {
		at = c.at
		_, err := client.Join(limited(t), req)
		switch {
		case c.want > 0 && (err != nil || len(client.parts) != 1 || client.parts[0].session != c.want):
			t.Errorf("%s: %v, parts %v; want session %d", c.at, err, client.parts, c.want)
		case c.want == 0 && (err == nil || !strings.Contains(err.Error(), "part 1/2") || errors.Is(err, ErrRefused) != c.refusal):
			t.Errorf("%s: %v; want a refusal: %v", c.at, err, c.refusal)
		}
	}
	at = ""
	if _, err := client.Join(limited(t), req); err != nil || len(client.parts) != 0 {
		t.Errorf("%v, parts %v left of a job of one", err, client.parts)
	}
}

// Factors stand for chunks of several servers, each of which forms its own.
func TestFactorsGoToAllPartsThatFormSomeOfThem(t *testing.T) {
	parts, stream := newPlay(t)
	values := wire.NewOperands(4)
	copy(values.Floats(), []float32{1, 2, 3, 4})
	if err := stream.Send(&wire.Request{Factors: wire.Factors{Step: 5, Shard: 1, Tensor: 3, Images: 2, Values: values, First: 1, End: 3}}); err != nil {
		t.Fatal(err)
	}
	for _, p := range parts[1:] {
		f := (<-p.hears).GetFactors()
		if f.GetShard() != 1 || f.GetTensor() != 3 || len(f.GetPayload()) != 16 || wire.Checksum(f.GetPayload()) != f.GetChecksum() {
			t.Errorf("a part hears %v, want the factors", f)
		}
	}
	if err := stream.Send(gradientOf(0)); err != nil {
		t.Fatal(err)
	}
	if m := <-parts[0].hears; m.GetGradient() == nil {
		t.Errorf("the coordinator hears %v first, want a gradient: no chunk of the factors is its own", m)
	}
}
