package worker

import (
	"errors"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// host is a server that offers memory, and what its worker offers in return.
type host struct {
	memory   *wire.Segment
	offer    *musterv1.SharedMemory
	declines bool
	offered  chan *musterv1.SharedMemory // by who introduces itself
	heard    chan *musterv1.GradientChunk
	say      chan *musterv1.ParametersChunk
}

const sharedValues = params.ChunkValues + 10

func newHost(t *testing.T) *host {
	t.Helper()
	memory, err := wire.NewSegment(2, sharedValues)
	if err != nil {
		t.Skipf("%s needs memory that processes can share: %v", t.Name(), err)
	}
	t.Cleanup(memory.Close)
	for i := range 2 {
		for j := range memory.Vector(i) {
			memory.Vector(i)[j] = float32(10*i + j%7)
		}
	}
	return &host{
		memory: memory, offer: memory.Offer(), offered: make(chan *musterv1.SharedMemory, 1),
		heard: make(chan *musterv1.GradientChunk, 1), say: make(chan *musterv1.ParametersChunk, 1),
	}
}

func (h *host) serve(t *testing.T) *Client {
	t.Helper()
	path := socket(t)
	serve(t, path, fake{
		join: func(req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
			r := &musterv1.JoinResponse{Job: testJob(), Session: 1, Shared: h.offer}
			if req.Job != "" {
				h.offered <- req.Shared
				if h.declines || req.Shared == nil {
					r.Shared = nil
				}
			}
			return r, nil
		},
		exchange: func(s grpc.BidiStreamingServer[musterv1.ExchangeRequest, musterv1.ExchangeResponse]) error {
			if _, err := s.Recv(); err != nil {
				return err
			}
			go func() {
				for {
					m, err := s.Recv()
					if err != nil {
						return
					}
					h.heard <- m.GetGradient()
				}
			}()
			for p := range h.say {
				if err := s.Send(&musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Parameters{Parameters: p}}); err != nil {
					return err
				}
			}
			return nil
		},
	})
	c, err := Dial("unix://"+path, DialOptions{SharedMemory: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// join introduces a worker and opens its stream.
func join(t *testing.T, c *Client) Stream {
	t.Helper()
	for _, req := range []*musterv1.JoinRequest{{Worker: "w"}, {Worker: "w", Job: "j"}} {
		before := proto.Clone(req)
		if _, err := c.Join(limited(t), req); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(req, before) {
			t.Errorf("the caller's request was changed to %v", req)
		}
	}
	stream, err := c.Exchange(limited(t), &musterv1.Hello{Session: 1})
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func TestSharedMemoryCarriesWhatMessagesTell(t *testing.T) {
	h := newHost(t)
	stream := join(t, h.serve(t))
	offered := await(t, h.offered, "an offer")
	sums, err := wire.OpenSegment(offered)
	if err != nil {
		t.Fatal(err)
	}
	defer sums.Close()
	shared := stream.Shared()
	if shared == nil || len(shared.Sums) != 2 || len(shared.Sums[1]) != sharedValues { // of testJob's four shards two can lack their siblings
		t.Fatalf("shared memory %v, want two vectors of %d sums", shared != nil, sharedValues)
	}

	for step, vector := range []int{0, 1, 0} {
		h.say <- &musterv1.ParametersChunk{Step: uint64(step), Chunk: 1, Encoding: musterv1.Encoding_ENCODING_SHARED}
		var m wire.Response
		if err := stream.Recv(&m); err != nil {
			t.Fatal(err)
		}
		want := h.memory.Vector(vector)[params.ChunkValues:]
		if p := m.Parameters; p.Payload == nil || p.Step != uint64(step) || !sameBits(p.Payload.Floats(), want) || !sameBits(shared.Parameters[vector][params.ChunkValues:], want) {
			t.Errorf("step %d: not a view of the server's vector %d", step, vector)
		}
		m.Free()
	}

	shared.Sums[1][3] = 42
	view := wire.View(shared.Sums[1][:params.ChunkValues])
	if err := stream.Send(&wire.Request{Gradient: wire.Gradient{Step: 5, End: 1, Payload: view}}); err != nil {
		t.Fatal(err)
	}
	if g := await(t, h.heard, "a gradient"); g.Encoding != musterv1.Encoding_ENCODING_SHARED || g.Vector != 1 || len(g.Payload) > 0 || sums.Vector(1)[3] != 42 {
		t.Errorf("heard %v, and value 3 is %g", g, sums.Vector(1)[3])
	}
	// What is not in shared memory goes with its message.
	other := wire.NewPayload(3)
	copy(other.Floats(), []float32{1, 2, 3})
	if err := stream.Send(&wire.Request{Gradient: wire.Gradient{Step: 5, End: 1, Payload: other}}); err != nil {
		t.Fatal(err)
	}
	got := make([]float32, 3)
	if err := wire.Decode(got, await(t, h.heard, "a gradient")); err != nil || !sameBits(got, []float32{1, 2, 3}) {
		t.Errorf("heard %v, %v", got, err)
	}

	// A chunk that is not there, and one that is told of when the stream is closed.
	h.say <- &musterv1.ParametersChunk{Chunk: 2, Encoding: musterv1.Encoding_ENCODING_SHARED}
	if err := stream.Recv(new(wire.Response)); !errors.Is(err, wire.ErrMalformed) {
		t.Errorf("Recv = %v, want a malformed chunk", err)
	}
	if err := stream.Close(); err != nil {
		t.Fatal(err)
	}
	h.say <- &musterv1.ParametersChunk{Encoding: musterv1.Encoding_ENCODING_SHARED}
	if err := stream.Recv(new(wire.Response)); !errors.Is(err, wire.ErrNotShared) {
		t.Errorf("Recv = %v after the stream was closed, want none of its memory", err)
	}
	close(h.say)
	if err := stream.Recv(new(wire.Response)); err != io.EOF {
		t.Errorf("Recv = %v, want the end", err)
	}
}

func TestWithoutSharedMemoryEverythingGoesOverTheStream(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(h *host, c *Client)
		offered bool // by the worker
	}{
		"the server can't map the worker's": {func(h *host, _ *Client) { h.declines = true }, true},
		"the server offers none":            {func(h *host, _ *Client) { h.offer = nil }, false},
		"the server is elsewhere": {func(h *host, _ *Client) {
			h.offer = proto.Clone(h.offer).(*musterv1.SharedMemory)
			h.offer.Host = "elsewhere"
		}, false},
		"the server offers a vector alone": {func(h *host, _ *Client) {
			one, err := wire.NewSegment(1, sharedValues)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(one.Close)
			h.offer = one.Offer()
		}, false},
		"the worker is not to": {func(_ *host, c *Client) { c.o.SharedMemory = false }, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t)
			c := h.serve(t)
			tc.change(h, c)
			stream := join(t, c)
			if got := await(t, h.offered, "an offer") != nil; got != tc.offered {
				t.Errorf("the worker offered memory: %v, want %v", got, tc.offered)
			}
			if stream.Shared() != nil || c.sharing != nil {
				t.Error("memory is shared")
			}
			close(h.say)
		})
	}
}

// Between the two calls of a join another server may have taken the address over.
func TestMemoryOfAnotherServerIsNotUsed(t *testing.T) {
	h, other := newHost(t), newHost(t)
	c := h.serve(t)
	if _, err := c.Join(limited(t), &musterv1.JoinRequest{Worker: "w"}); err != nil {
		t.Fatal(err)
	}
	h.offer = other.offer
	if _, err := c.Join(limited(t), &musterv1.JoinRequest{Worker: "w", Job: "j"}); err == nil || errors.Is(err, ErrRefused) {
		t.Errorf("Join = %v, want an error after which the worker joins anew", err)
	}
	<-h.offered
	if stream := join(t, c); stream.Shared() == nil || stream.Shared().Parameters[0][0] != other.memory.Vector(0)[0] {
		t.Error("joining anew did not map the other server's memory")
	}
	close(h.say)
}
