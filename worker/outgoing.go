package worker

import (
	"fmt"
	"sync"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model/params"
)

// outgoing sends the contributions of one step, each chunk as soon as backward
// has finished all its values, and factors as soon as they are there. The plan calls
// ready and factored and never waits for them; a goroutine packs and sends.
type outgoing struct {
	encoder Encoder // of what is not lent; the goroutine's until it has ended
	step    uint64
	nodes   []params.Node
	sum     func(node int) []float32
	lend    int // the server sees the sums of so many nodes: send views of them
	copies  int // of so many nodes the server sees the sums as a rule, so that what is sent of them is a copy
	send    func(*wire.Request) error
	sent    func(bytes int) // told of each chunk's payload

	left    [][]int // by node and chunk: values that are not final yet; 0 too where factors go for them
	queue   chan piece
	sending sync.WaitGroup
	request wire.Request // the goroutine's
	err     error        // the goroutine's until it has ended
}

// piece names a chunk of a node's sum, or has factors with values.
type piece struct {
	node, chunk int
	factors     wire.Factors
}

// begin starts the goroutine, which finish waits for. Up to so many factors may come.
func (o *outgoing) begin(step uint64, nodes []params.Node, factors int, send func(*wire.Request) error) {
	o.step, o.nodes, o.send, o.err = step, nodes, send, nil
	chunks := o.encoder.Layout.Chunks()
	for len(o.left) < len(nodes) {
		o.left = append(o.left, make([]int, chunks))
	}
	for node := range nodes {
		for chunk := range chunks {
			o.left[node][chunk] = o.encoder.Layout.Chunk(chunk).Len()
		}
	}
	o.queue = make(chan piece, len(nodes)*chunks+factors)
	o.sending.Go(func() {
		for p := range o.queue {
			switch {
			case o.err != nil: // the stream is broken, and all will be sent anew
				if v := p.factors.Values; v != nil {
					v.Free()
				}
			case p.factors.Values != nil:
				o.err = o.sendFactors(p.factors)
			default:
				o.err = o.sendPiece(p)
			}
		}
	})
}

// ready takes note that a range of a node's sum is final.
func (o *outgoing) ready(node int, r params.Range) {
	for chunk := r.First / params.ChunkValues; chunk*params.ChunkValues < r.End; chunk++ {
		c := o.encoder.Layout.Chunk(chunk)
		o.left[node][chunk] -= min(r.End, c.End) - max(r.First, c.First)
		if o.left[node][chunk] == 0 {
			o.queue <- piece{node: node, chunk: chunk} // has room for every piece
		}
	}
}

// factored sends a shard's factors, with their values, for some chunks of the node that
// the shard is of.
func (o *outgoing) factored(chunks params.Range, f wire.Factors) {
	for node, d := range o.nodes {
		if d.Has(int(f.Shard)) {
			clear(o.left[node][chunks.First:chunks.End])
		}
	}
	f.Step = o.step
	o.queue <- piece{factors: f}
}

// finish waits until everything is sent, and returns the first error. What no
// call of ready has told of is final too where computed tells so.
func (o *outgoing) finish(computed bool) error {
	if computed {
		for node := range o.nodes {
			for chunk, left := range o.left[node] {
				if left > 0 {
					o.queue <- piece{node: node, chunk: chunk}
				}
			}
		}
	}
	close(o.queue)
	o.sending.Wait()
	return o.err
}

func (o *outgoing) sendFactors(f wire.Factors) error {
	n := f.Values.Len()
	o.request = wire.Request{Factors: f}
	if err := o.send(&o.request); err != nil {
		return fmt.Errorf("factors of tensor %d, shard %d: %w", f.Tensor, f.Shard, err)
	}
	o.sent(n)
	return nil
}

func (o *outgoing) sendPiece(p piece) error {
	node := o.nodes[p.node]
	var payload *wire.Payload
	if sum := o.sum(p.node); p.node < o.lend {
		payload = wire.View(o.encoder.Layout.Chunk(p.chunk).Of(sum))
	} else {
		// What a copy cuts off has come as it was, or will not be followed by a step's sums.
		payload = o.encoder.Encode(o.step, node, p.chunk, sum, p.node >= o.copies)
	}
	n := payload.Len()
	o.request = wire.Request{Gradient: wire.Gradient{
		Step: o.step, First: uint32(node.First), End: uint32(node.End), Chunk: uint32(p.chunk), Payload: payload,
	}}
	if err := o.send(&o.request); err != nil {
		return fmt.Errorf("chunk %d of shards %s: %w", p.chunk, node, err)
	}
	o.sent(n)
	return nil
}
