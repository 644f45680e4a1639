package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/muster-train/muster/internal/wire"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// A job of several parts: the server that the worker knows coordinates and has the
// first chunks, others have the rest. The worker joins all of them and has a stream to
// each, which to the loop look like one.

// partLink is a way to the server of another part.
type partLink struct {
	first, end uint32 // its chunks
	address    string
	client     *Client
	session    uint64
}

// joinParts introduces the worker to the servers of the other parts.
func (c *Client) joinParts(ctx context.Context, req *musterv1.JoinRequest, ranges []*musterv1.PartRange) error {
	known := map[string]*Client{}
	for _, p := range c.parts {
		known[p.address] = p.client
	}
	defer func() {
		for _, gone := range known {
			gone.Close()
		}
	}()
	c.parts = nil
	for i := 1; i < len(ranges); i++ { // the first is the server that has answered
		r := ranges[i]
		client := known[r.Address]
		if delete(known, r.Address); client == nil {
			var err error
			if client, err = Dial(r.Address, DialOptions{Log: c.o.Log}); err != nil {
				return fmt.Errorf("part %d/%d: %w", i, len(ranges), err)
			}
		}
		c.parts = append(c.parts, partLink{first: r.First, end: r.End, address: r.Address, client: client})
	}
	for i := range c.parts {
		p := &c.parts[i]
		response, err := p.client.join(ctx, req)
		if err != nil {
			return fmt.Errorf("part %d/%d at %s: %w", i+1, len(ranges), p.address, err)
		}
		p.session = response.Session
	}
	return nil
}

// joinedStreams are streams to all servers of a job as one: what is sent goes to the
// server that has it, what comes is handed on in the order in which it comes from each.
// A goroutine for each receives until its stream or ctx ends.
type joinedStreams struct {
	ctx      context.Context // of the streams: this has the life of one call to Exchange
	servers  []*serverStream // the coordinator's, then those of the other parts
	messages chan received
}

// serverStream is the stream to one of them. Gradients are sent over it from one
// goroutine, what follows from messages from others.
type serverStream struct {
	Stream
	first, end uint32 // chunks
	name       string
	mu         sync.Mutex // held while sending
}

func (s *serverStream) Send(m *wire.Request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Stream.Send(m)
}

// exchangeParts opens the streams to the other parts beside the one to the
// coordinator, which it closes if it fails.
func (c *Client) exchangeParts(ctx context.Context, coordinator Stream, hello *musterv1.Hello) (Stream, error) {
	s := &joinedStreams{ctx: ctx, messages: make(chan received)}
	s.servers = append(s.servers, &serverStream{Stream: coordinator, end: c.parts[0].first})
	for _, p := range c.parts {
		stream, err := p.client.open(ctx, &musterv1.Hello{Session: p.session, HaveStepPlusOne: hello.HaveStepPlusOne})
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("part at %s: %w", p.address, err)
		}
		s.servers = append(s.servers, &serverStream{Stream: stream, first: p.first, end: p.end, name: p.address})
	}
	for _, server := range s.servers {
		c.receiving.Go(func() { s.receive(server) })
	}
	return s, nil
}

// receive hands on what comes over a stream.
func (s *joinedStreams) receive(from *serverStream) {
	for {
		var m received
		m.err = from.Recv(&m.message)
		if m.err == nil {
			m.err = s.heed(from, &m.message)
		}
		if m.err != nil && from != s.servers[0] {
			if errors.Is(m.err, io.EOF) {
				m.err = io.ErrUnexpectedEOF // the coordinator says when the job is over
			}
			m.err = fmt.Errorf("part at %s: %w", from.name, m.err)
		}
		select {
		case s.messages <- m:
		case <-s.ctx.Done():
			m.message.Free()
			return
		}
		if m.err != nil {
			return
		}
	}
}

// heed tells other servers what follows from a message, before the worker sees it:
// which step's parameters it needs, and what has to be asked for once more.
func (s *joinedStreams) heed(from *serverStream, m *wire.Response) error {
	coordinator := s.servers[0]
	switch message := m.Message.GetMessage().(type) {
	case *musterv1.ExchangeResponse_Work:
		for _, part := range s.servers[1:] {
			if err := part.Send(want(message.Work.Step)); err != nil {
				return err
			}
		}
	case *musterv1.ExchangeResponse_Refusal:
		if from != coordinator && message.Refusal.Reason != musterv1.RefusalReason_REFUSAL_REASON_STALE {
			return coordinator.Send(want(message.Refusal.Step))
		}
	}
	return nil
}

func want(step uint64) *wire.Request {
	return &wire.Request{Message: &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Want{Want: &musterv1.Want{Step: step}}}}
}

// Send sends a gradient to the server of its chunk, factors to those of all chunks that
// they stand for, all else to the coordinator.
func (s *joinedStreams) Send(m *wire.Request) error {
	if m.Factors.Values != nil {
		return s.sendFactors(m.Factors)
	}
	if m.Gradient.Payload != nil {
		for _, part := range s.servers[1:] {
			if part.first <= m.Gradient.Chunk && m.Gradient.Chunk < part.end {
				return part.Send(m)
			}
		}
	}
	return s.servers[0].Send(m)
}

// sendFactors sends the same factors to several servers, each of which owns them once.
func (s *joinedStreams) sendFactors(f wire.Factors) error {
	var to []*serverStream
	for _, server := range s.servers {
		if f.First < server.end && server.first < f.End {
			to = append(to, server)
		}
	}
	f.Values.Share(len(to) - 1)
	for i, server := range to {
		if err := server.Send(&wire.Request{Factors: f}); err != nil {
			for range to[i+1:] {
				f.Values.Free()
			}
			return err
		}
	}
	return nil
}

// Recv sets m to the next message of any of the servers. Its error is the end of one
// of the streams, and so of what they are together.
func (s *joinedStreams) Recv(m *wire.Response) error {
	select {
	case next := <-s.messages:
		*m = next.message
		return next.err
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

// Shared is nil: vectors that are in several processes can't be shared.
func (s *joinedStreams) Shared() *wire.Shared { return nil }

// Close tells all servers that nothing more will be sent.
func (s *joinedStreams) Close() (err error) {
	for _, server := range s.servers {
		err = errors.Join(err, server.Stream.Close())
	}
	return err
}
