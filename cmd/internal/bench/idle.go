package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/params"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
	"github.com/muster-train/muster/worker"
)

// idle is a worker that computes nothing: it has the same sums for every step, and
// makes of them what a worker sends in the job's encoding.
// One goroutine receives, into a vector of parameters, as a worker's loop does;
// step is called from another.
type idle struct {
	id       string
	layout   *params.Layout
	shards   uint32 // of the job
	images   int    // of each shard in a step
	encoding wire.Encoding
	factored []model.Factored // tensors that go as factors over a stream
	sums     []float32
	vector   []float32
	stream   worker.Stream
	cancel   func()

	asked     chan job
	receiving sync.WaitGroup
	err       error // of receiving, once asked is closed

	after   []time.Duration // by chunk: when it is sent, from a step's beginning on; nil: at once
	now     job             // asked for, not done
	filled  int             // vectors of shared memory that have the sums
	encoder worker.Encoder  // of what goes over the stream
}

// job is a piece of work and the shards that it is of.
type job struct {
	step  uint64
	nodes []params.Node
	mine  []int
}

// MaxTurns is how many steps are measured at most: those of an epoch, beside the
// first ones, which are not measured.
const MaxTurns = 1000

// dataOf is what idle workers say that they hold.
func dataOf(shards uint32, images int) *musterv1.DataInfo {
	return &musterv1.DataInfo{
		Fingerprint: "none", TrainImages: 2 * MaxTurns * uint32(images) * shards, TestImages: 1, Classes: 10,
		ClassNames: []string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"},
	}
}

// assembly is how long the servers of all parts may take to be there.
const assembly = 10 * time.Second

func newIdle(ctx context.Context, link worker.Link, id string, cfg *ExchangeConfig, sums []float32) (*idle, error) {
	layout, shards, images := cfg.Network.Layout, uint32(cfg.Shards), cfg.imagesOfShard()
	req := &musterv1.JoinRequest{Worker: id, Device: "none", Encodings: wire.Spoken()}
	offer, err := link.Join(ctx, req)
	if err != nil {
		return nil, err
	}
	req.Job, req.Layout, req.Data = offer.JobHash, layout.Fingerprint(), dataOf(shards, images)
	joined, err := link.Join(ctx, req)
	for until := time.Now().Add(assembly); err != nil && !errors.Is(err, worker.ErrRefused) && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond) // a part is not there yet
		joined, err = link.Join(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	stream, err := link.Exchange(ctx, &musterv1.Hello{Session: joined.Session})
	if err != nil {
		cancel()
		return nil, err
	}
	w := &idle{
		id: id, layout: layout, shards: shards, images: images, encoding: cfg.Encoding, sums: sums, vector: params.NewVector(layout.Size()), stream: stream, cancel: cancel,
		asked: make(chan job, 4), encoder: worker.Encoder{Layout: layout, Encoding: cfg.Encoding.Gradients()},
	}
	if cfg.Encoding == wire.FACTORS && stream.Shared() == nil {
		w.factored = cfg.Network.Factored(images * cfg.Shards)
	}
	w.receiving.Go(func() {
		defer close(w.asked)
		w.err = w.receive()
	})
	return w, nil
}

// receive follows the server's messages.
func (w *idle) receive() error {
	var mine []int
	asked := false
	var last uint64                         // step asked for, where asked
	at := make([]uint64, w.layout.Chunks()) // by chunk: the step it has come at, plus one
	for begun := true; ; {
		// A step begins once all its parameters are there.
		if !begun && !slices.ContainsFunc(at, func(step uint64) bool { return step <= last }) {
			begun = true
			w.asked <- job{last, params.Cover(mine, int(w.shards)), mine}
		}
		var m wire.Response
		if err := w.stream.Recv(&m); err != nil {
			return err
		}
		if p := &m.Parameters; p.Payload != nil {
			r := w.layout.Chunk(int(p.Chunk))
			if err := w.check(p.Payload, r.Len()); err != nil {
				return fmt.Errorf("chunk %d of step %d: %w", p.Chunk, p.Step, err)
			}
			if w.stream.Shared() == nil {
				copy(r.Of(w.vector), p.Payload.Floats())
			}
			at[p.Chunk] = p.Step + 1
			m.Free()
			continue
		}
		switch m := m.Message.GetMessage().(type) {
		case *musterv1.ExchangeResponse_Assignment:
			mine = nil
			for _, s := range m.Assignment.Shards {
				mine = append(mine, int(s))
			}
		case *musterv1.ExchangeResponse_Work:
			if asked && m.Work.Step == last {
				continue // it is repeated when shards move
			}
			asked, begun, last = true, false, m.Work.Step
		case *musterv1.ExchangeResponse_Refusal:
			return fmt.Errorf("step %d was refused: %s", m.Refusal.Step, m.Refusal.Detail)
		case *musterv1.ExchangeResponse_Done:
			return errors.New("the job has ended: " + m.Done.Reason)
		}
	}
}

// check tells what is wrong with a chunk of parameters: one look at each end, where
// it is to be rounded.
func (w *idle) check(p *wire.Payload, n int) error {
	if err := p.Check(n, w.encoding.Parameters()); err != nil || w.encoding.Parameters() == musterv1.Encoding_ENCODING_F32 {
		return err
	}
	for _, v := range []float32{p.Floats()[0], p.Floats()[n-1]} {
		if math.Float32bits(v)&0xffff != 0 {
			return fmt.Errorf("%v is no bfloat16, the job's encoding is %v", v, w.encoding)
		}
	}
	return nil
}

// await waits to be asked for a step.
func (w *idle) await() error {
	var ok bool
	if w.now, ok = <-w.asked; !ok {
		return w.err
	}
	return nil
}

// step sends the sums of the step that was asked for, the last chunk first, as
// backward has them, and waits to be asked for the next.
func (w *idle) step() error {
	if err := w.send(); err != nil {
		return err
	}
	return w.await()
}

func (w *idle) send() error {
	tallies := &musterv1.Tallies{Step: w.now.step, Kind: musterv1.WorkKind_WORK_KIND_GRADIENT}
	for _, s := range w.now.mine {
		tallies.Tallies = append(tallies.Tallies, &musterv1.Tally{Shard: uint32(s), Images: uint32(w.images)})
	}
	var m wire.Request
	lent := w.lent()
	began := time.Now()
	for chunk := w.layout.Chunks() - 1; chunk >= 0; chunk-- {
		if w.after != nil {
			time.Sleep(time.Until(began.Add(w.after[chunk])))
		}
		if f, goes := w.factors(chunk); f != nil {
			if goes {
				if err := w.sendFactors(f); err != nil {
					return err
				}
			}
			continue
		}
		for i, node := range w.now.nodes {
			var payload *wire.Payload
			if i < len(lent) {
				payload = wire.View(w.layout.Chunk(chunk).Of(lent[i]))
			} else {
				payload = w.encoder.Encode(w.now.step, node, chunk, w.sums, true)
			}
			m = wire.Request{Gradient: wire.Gradient{
				Step: w.now.step, First: uint32(node.First), End: uint32(node.End), Chunk: uint32(chunk), Payload: payload,
			}}
			if err := w.stream.Send(&m); err != nil {
				return err
			}
		}
	}
	return w.stream.Send(&wire.Request{Message: &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Tallies{Tallies: tallies}}})
}

// bytes is what is sent and received in the step that has been asked for.
func (w *idle) bytes() (up, down int) {
	parameters := w.encoding.Parameters()
	if w.stream.Shared() != nil {
		parameters = musterv1.Encoding_ENCODING_F32
	}
	for chunk := range w.layout.Chunks() {
		down += wire.PayloadBytes(parameters, w.layout.Chunk(chunk).Len())
		up += w.up(chunk)
	}
	return up, down
}

// up is the bytes that are sent when a chunk is due.
func (w *idle) up(chunk int) (bytes int) {
	if f, goes := w.factors(chunk); f != nil {
		if goes {
			bytes = 4 * f.Values(w.images) * len(w.now.mine)
		}
		return bytes
	}
	lent := len(w.lent())
	for node := range w.now.nodes {
		e := w.encoding.Gradients()
		if node < lent {
			e = musterv1.Encoding_ENCODING_F32
		}
		bytes += wire.PayloadBytes(e, w.layout.Live(chunk))
	}
	return bytes
}

// lent is vectors with the sums that the server sees, by node; none where memory is
// not shared.
func (w *idle) lent() [][]float32 {
	shared := w.stream.Shared()
	switch {
	case shared == nil:
		return nil
	case shared.Sums == nil: // it sees everything
		return slices.Repeat([][]float32{w.sums}, len(w.now.nodes))
	}
	for ; w.filled < min(len(w.now.nodes), len(shared.Sums)); w.filled++ {
		copy(shared.Sums[w.filled], w.sums)
	}
	return shared.Sums
}

func (w *idle) close() {
	w.cancel()
	w.stream.Close()
	w.receiving.Wait()
}
