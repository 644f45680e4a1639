package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// Link is a way to a parameter server.
type Link interface {
	// Join introduces the worker. An error that wraps ErrRefused is for good. The
	// answer of a server of a lower term than that of req is an error that isn't.
	Join(ctx context.Context, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error)
	// Exchange opens the stream; it ends with ctx or Close.
	Exchange(ctx context.Context, hello *musterv1.Hello) (Stream, error)
}

// Stream is an open Exchange. Send and Recv may be called from two goroutines.
type Stream interface {
	// Send takes over the payload of m, if it has one. Once it has failed, Recv
	// comes to an end, and tells why.
	Send(m *wire.Request) error
	// Recv sets m to the next message; its payload is the caller's to free.
	Recv(m *wire.Response) error
	// Shared is memory that the server sees too, which all parameters are views of
	// and gradients may be; nil: there is none.
	Shared() *wire.Shared
	Close() error
}

// ErrRefused is a server's refusal of this worker, with the server's reason.
var ErrRefused = errors.New("refused by the server")

// ErrJobFailed is what Run returns when the server says that the job ended
// without success.
var ErrJobFailed = errors.New("the job ended early")

// ErrUnreachable is what Run returns when the server has been out of reach for as
// long as it may.
var ErrUnreachable = errors.New("the server could not be reached")

// closeTimeout is how long the server may take to end a stream that the worker has closed.
const closeTimeout = 2 * time.Second

// Worker is one worker of one job. Make it with New, then Run it once.
type Worker struct {
	cfg  Config
	link Link

	task *task  // of the job joined last; nil: none yet
	term uint64 // the highest that a server has answered with; 0: none has

	waiting bool // said that the server is waited for
	heard   bool // the open stream has brought something: the server took the worker in
}

// New makes a worker that reaches its server by link.
func New(cfg Config, link Link) (*Worker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return &Worker{cfg: cfg, link: link}, nil
}

// Run works until the job is done, and returns nil then. A server that can't be
// reached is waited for and a lost one rejoined, until ctx ends, or with
// ErrUnreachable until that has taken as long as it may.
func (w *Worker) Run(ctx context.Context) error {
	defer func() {
		if w.task != nil {
			w.task.close()
		}
	}()
	pause := w.cfg.FirstWait
	since := time.Now() // there has been no connection
	for {
		joined, err := w.takePart(ctx, since)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, ErrRefused), errors.Is(err, ErrJobFailed), errors.Is(err, errFault):
			return err
		}
		if joined {
			pause, since = w.cfg.FirstWait, time.Now()
			w.cfg.Log.Warn("connection lost, joining again", "err", err)
			w.waiting = true
		} else if !w.waiting {
			w.cfg.Log.Info("waiting for the server", "err", err)
			w.waiting = true
		}
		// Jitter keeps many workers from coming back at the same moment.
		wait := pause/2 + rand.N(pause)
		if w.cfg.MaxWait > 0 {
			left := w.cfg.MaxWait - time.Since(since)
			if left <= 0 {
				return fmt.Errorf("%w for %v: %w", ErrUnreachable, w.cfg.MaxWait, err)
			}
			wait = min(wait, left) // for a last try
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(pause*3/2, w.cfg.LongestWait)
	}
}

// errFault is a fault of this worker that trying again won't cure.
var errFault = errors.New("worker")

// takePart joins, and works until the job's end or an error; joined tells
// whether it came as far as an open stream. There has been no connection since
// the time given.
func (w *Worker) takePart(ctx context.Context, since time.Time) (joined bool, err error) {
	response, err := w.join(ctx, since)
	if err != nil {
		return false, err
	}
	// The stream outlives ctx for the moment it takes to say good-bye.
	open, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stream, err := w.link.Exchange(open, &musterv1.Hello{Session: response.Session, HaveStepPlusOne: w.task.held.whole()})
	if err != nil {
		return false, err
	}
	err = w.exchange(ctx, stream, cancel)
	w.cfg.Meter.note(func(c *Counts) { c.Joined, c.Shards = false, 0 })
	return w.heard, err
}

// join asks for the job, makes ready for it, and introduces the worker with
// the fingerprints of what it will use.
func (w *Worker) join(ctx context.Context, since time.Time) (*musterv1.JoinResponse, error) {
	req := &musterv1.JoinRequest{
		Worker: w.cfg.ID, Host: w.cfg.Host, Device: w.cfg.Device.Name(), JobName: w.cfg.JobName,
		Registered: w.cfg.Registered, Encodings: wire.Spoken(), Term: w.term,
	}
	if p := w.cfg.Pinned; p != nil {
		req.Shard = &musterv1.PinnedShard{Index: uint32(p.Index), Count: uint32(p.Count)}
	}
	offer, err := w.ask(ctx, since, req)
	if err != nil {
		return nil, err
	}
	w.term = max(w.term, offer.Term)
	if w.task == nil || w.task.hash != offer.JobHash {
		if w.task != nil {
			w.task.close()
		}
		if w.task, err = newTask(&w.cfg, offer.Job, offer.JobHash); err != nil {
			return nil, fmt.Errorf("%w: %w", errFault, err)
		}
	}
	req.Job, req.Layout, req.Data, req.Term = w.task.hash, w.task.network.Layout.Fingerprint(), w.task.data, w.term
	response, err := w.link.Join(ctx, req)
	if err == nil {
		w.term = max(w.term, response.Term)
	}
	return response, err
}

// shortestTry is what a call may take at least, however long the server has been out
// of reach.
const shortestTry = time.Second

// ask makes the first call to a server that has been out of reach since the time
// given, which takes no longer than that may go on.
func (w *Worker) ask(ctx context.Context, since time.Time, req *musterv1.JoinRequest) (*musterv1.JoinResponse, error) {
	if w.cfg.MaxWait == 0 {
		return w.link.Join(ctx, req)
	}
	patience := max(shortestTry, w.cfg.MaxWait-time.Since(since))
	short, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	offer, err := w.link.Join(short, req)
	if err != nil && short.Err() != nil && ctx.Err() == nil {
		err = fmt.Errorf("no answer within %v", patience.Round(time.Millisecond))
	}
	return offer, err
}

// exchange is the loop: it follows the server's messages and computes when
// there is nothing newer to hear. It closes the stream; cancel breaks it.
func (w *Worker) exchange(ctx context.Context, stream Stream, cancel func()) error {
	// While a step is computed, its successor's parameters come in.
	messages, stop := receive(stream, cancel, 2*w.task.network.Layout.Chunks())
	defer stop()
	send := func(m *wire.Request) error {
		if err := stream.Send(m); err != nil {
			return fmt.Errorf("%w: %w", errSend, err)
		}
		return nil
	}
	t := w.task
	t.begins(stream.Shared())
	defer t.ends()
	w.heard = false
	var news *received // came while parameters were awaited
	await := func(r params.Range) error {
		for !t.held.has(t.work.Step, r) {
			select {
			case m := <-messages:
				if m.message.Parameters.Payload == nil {
					news = &m
					return errNews
				}
				if _, err := w.handle(m); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	}
	for {
		if t.pending() && news == nil && len(messages) == 0 {
			err := t.compute(ctx, send, await)
			switch {
			case err == nil, errors.Is(err, errNews):
			case errors.Is(err, errSend):
				return w.lastWords(ctx, messages, stream)
			case ctx.Err() != nil:
				return leave(ctx, stream)
			default:
				return err
			}
			continue
		}
		var m received
		if news != nil {
			m, news = *news, nil
		} else {
			select {
			case m = <-messages:
			case <-ctx.Done():
				return leave(ctx, stream)
			}
		}
		if over, err := w.handle(m); over || err != nil {
			return err
		}
		if a := m.message.Message.GetAssignment(); a != nil && len(a.Shards) == 0 {
			if err := send(alive()); err != nil {
				return w.lastWords(ctx, messages, stream)
			}
		}
	}
}

// alive is what a worker says that is given no shards: a server that gave them to
// others because nothing came hears that it may have some again.
func alive() *wire.Request {
	return &wire.Request{Message: &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: &musterv1.Tallies{}}}}
}

// errNews ends a computation that awaits parameters when the server has something
// else to say: there may be other work.
var errNews = errors.New("news from the server")

// errSend marks the failure of a Send: the stream is broken, and Recv tells why.
var errSend = errors.New("send")

// lastWords follows the server's messages to the end of a broken stream: it may
// have said that the job is done, and gone, while the worker computed.
func (w *Worker) lastWords(ctx context.Context, messages <-chan received, stream Stream) error {
	for {
		select {
		case m := <-messages:
			if over, err := w.handle(m); over || err != nil {
				return err
			}
		case <-ctx.Done():
			return leave(ctx, stream)
		}
	}
}

// handle takes in one message; over tells that it was the last.
func (w *Worker) handle(m received) (over bool, err error) {
	defer m.message.Free()
	if m.err != nil {
		if errors.Is(m.err, io.EOF) {
			return false, io.ErrUnexpectedEOF
		}
		return false, m.err
	}
	if !w.heard {
		w.heard, w.waiting = true, false
		w.cfg.Meter.note(func(c *Counts) { c.Joined = true; c.Joins++ })
		w.cfg.Log.Info("joined", "job", w.task.job.Name, "network", w.task.job.Network, "device", w.cfg.Device.Name())
	}
	if p := &m.message.Parameters; p.Payload != nil {
		w.cfg.Meter.note(func(c *Counts) { c.ReceivedBytes += uint64(p.Payload.Len()) })
		return false, w.task.load(p)
	}
	switch m := m.message.Message.GetMessage().(type) {
	case *musterv1.ExchangeResponse_Assignment:
		w.cfg.Log.Info("shards assigned", "shards", m.Assignment.Shards, "of", w.task.job.Shards, "unowned", len(m.Assignment.Unowned))
		w.cfg.Meter.note(func(c *Counts) { c.Shards = len(m.Assignment.Shards) })
		return false, w.task.assign(m.Assignment)
	case *musterv1.ExchangeResponse_Work:
		w.cfg.Meter.note(func(c *Counts) { c.Step = m.Work.Step })
		w.task.begin(m.Work)
		return false, nil
	case *musterv1.ExchangeResponse_Refusal:
		w.cfg.Meter.note(func(c *Counts) { c.Refusals++ })
		level := slog.LevelWarn
		switch m.Refusal.Reason {
		case musterv1.RefusalReason_REFUSAL_REASON_STALE, musterv1.RefusalReason_REFUSAL_REASON_MIXED:
			level = slog.LevelDebug // it came late, or its shards have moved: newer work follows
		}
		w.cfg.Log.Log(context.Background(), level, "contribution refused", "step", m.Refusal.Step, "reason", m.Refusal.Detail)
		w.task.again(m.Refusal)
		return false, nil
	case *musterv1.ExchangeResponse_Done:
		if !m.Done.Success {
			return true, fmt.Errorf("%w: %s", ErrJobFailed, m.Done.Reason)
		}
		w.cfg.Log.Info("the job is done", "step", m.Done.Step, "parameters", "sha256:"+m.Done.ParametersSha256)
		return true, nil
	}
	return false, fmt.Errorf("exchange: unexpected message %T", m.message.Message.GetMessage())
}

// leave gives the shards back.
func leave(ctx context.Context, stream Stream) error {
	bye := &musterv1.ExchangeRequest_Leave{Leave: &musterv1.Leave{Reason: "stopped"}}
	_ = stream.Send(&wire.Request{Message: &musterv1.ExchangeRequest{Message: bye}})
	return ctx.Err()
}

// received is a message and what it holds, or the end of the stream.
type received struct {
	message wire.Response
	err     error
}

// receive hands over a stream's messages until its end or stop, and takes in as
// many as there is room for before they are asked for. Stop closes the stream,
// gives the other side a moment to end it too, and breaks it by cancel if it
// doesn't; it waits for receive's goroutine.
func receive(stream Stream, cancel func(), room int) (<-chan received, func()) {
	messages := make(chan received, room)
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			var m received
			m.err = stream.Recv(&m.message)
			select {
			case messages <- m:
			case <-quit:
				m.message.Free()
				return
			}
			if m.err != nil {
				return
			}
		}
	}()
	return messages, func() {
		close(quit)
		stream.Close()
		patience := time.AfterFunc(closeTimeout, cancel)
		defer patience.Stop()
		<-ended
		for len(messages) > 0 {
			m := <-messages
			m.message.Free()
		}
	}
}
