package cpu

import (
	"errors"
	"fmt"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// errPlanClosed is returned by the calls of a plan after Close.
var errPlanClosed = errors.New("the plan is closed")

// plan is a graph bound to a device.
type plan struct {
	pool       *pool
	graph      *device.Graph
	options    device.Options
	mostBlocks int // lane blocks of the largest batch

	arena       arena // empty once everything is allocated
	scratchSize int   // of each thread
	scratch     [][]float32
	pairSize    int       // of the largest layer's pairs
	runSize     int       // of the largest layer's runs
	runs        []float32 // gradients of a layer's outputs, each shard's together
	pairs       []float32 // factors of the product at hand, where they are bfloat16
	pairing     pairing
	chain       [][]kernel.Block // of each thread, for the blocks of a call

	layers  []layer
	lowest  int // number of the first layer with parameters, or of all layers
	softmax *softmax

	values    []float32    // the vector of parameters
	totals    [][]float32  // the vectors of gradients, of each node
	input     []float32    // activations of the first layer
	gradients [2][]float32 // of the output and the input of the layer at hand, by turns
	tallies   []device.Tally
	profile   profile
	closed    bool

	// of the call at hand
	batch          *device.Batch
	images, blocks int // and lane blocks
	sums           sums
	rooms          []room    // for the factors of each span, of the layer at hand
	dx             []float32 // of the product at hand
}

// newPlan lays out g, which checkGraph has found sound, and allocates everything.
func newPlan(p *pool, g *device.Graph, o device.Options) (*plan, error) {
	l := &plan{
		pool: p, graph: g, options: o, mostBlocks: (o.Images + lanes - 1) / lanes,
		sums: newSums(o), tallies: make([]device.Tally, 0, o.Images), rooms: make([]room, 0, o.Images),
	}
	l.addLayers()
	l.softmax = newSoftmax(l, g.Classes, o.Images)
	l.allocate()
	return l, nil
}

func (p *plan) trains() bool { return p.options.Nodes > 0 }

// bf16 tells whether the factors of products are pairs of bfloat16.
func (p *plan) bf16() bool { return p.options.Precision == device.BF16 }

// rounds tells whether the sums of all nodes are bfloat16s.
func (p *plan) rounds() bool { return p.options.Sums == device.BF16 }

// needPairs asks for room for n pairs of the activations of a lane block.
func (p *plan) needPairs(n int) {
	if p.bf16() {
		p.pairSize = max(p.pairSize, n*p.mostBlocks)
	}
}

// needScratch asks for n values for each thread to work with.
func (p *plan) needScratch(n int) { p.scratchSize = max(p.scratchSize, n) }

func (p *plan) addLayers() {
	p.lowest = len(p.graph.Ops)
	for i, op := range p.graph.Ops {
		l := newLayer(p, op, p.lowest == len(p.graph.Ops))
		if _, ok := l.(weighted); ok && p.lowest == len(p.graph.Ops) {
			p.lowest = i
		}
		p.layers = append(p.layers, l)
	}
}

// allocate makes the plan's memory and tells the layers where it is. Where
// nothing is trained, two buffers take turns as activations.
func (p *plan) allocate() {
	sizes := []int{p.graph.Input.Values()}
	at := make([]int, len(p.layers)) // the buffer of each layer's output
	largest := sizes[0]
	for i, l := range p.layers {
		_, out := p.graph.Ops[i].Shapes()
		largest = max(largest, out.Values())
		at[i] = len(sizes) - 1
		if !l.overwrites() {
			at[i] = len(sizes)
			sizes = append(sizes, out.Values())
		}
	}
	if !p.trains() {
		sizes = []int{sizes[0], largest, largest}
		for i, b := range at {
			if b > 0 {
				at[i] = 1 + b%2
			}
		}
	}
	buffers := make([][]float32, len(sizes))
	for i, n := range sizes {
		p.arena.reserve(&buffers[i], n*p.mostBlocks*lanes)
	}
	p.scratch = make([][]float32, p.pool.threads)
	p.chain = make([][]kernel.Block, p.pool.threads)
	for t := range p.scratch {
		p.arena.reserve(&p.scratch[t], p.scratchSize)
		p.chain[t] = make([]kernel.Block, 2*max(chainBlocks, treeBlocks))
	}
	p.arena.reserve(&p.pairs, p.pairSize)
	p.arena.reserve(&p.runs, p.runSize)
	p.totals = make([][]float32, p.options.Nodes)
	for i := range p.totals {
		p.arena.reserve(&p.totals[i], p.graph.Parameters)
	}
	if p.trains() {
		p.arena.reserve(&p.gradients[0], largest*p.mostBlocks*lanes)
		p.arena.reserve(&p.gradients[1], largest*p.mostBlocks*lanes)
	}
	p.arena.reserve(&p.values, p.graph.Parameters)
	p.arena.allocate()
	p.arena = arena{}

	p.input = buffers[0]
	x := buffers[0]
	for i, l := range p.layers {
		l.bind(x, buffers[at[i]])
		x = buffers[at[i]]
	}
	p.softmax.z = x
}

// Parameters returns the host's vector of parameters.
func (p *plan) Parameters() []float32 { return p.values }

// UseParameters makes v the vector of parameters.
func (p *plan) UseParameters(v []float32) {
	p.values = v
	p.Loaded(params.Range{First: 0, End: len(v)})
}

// Loaded tells the plan that the values of r have changed.
func (p *plan) Loaded(r params.Range) {
	for _, l := range p.layers {
		if w, ok := l.(weighted); ok {
			w.loaded(r)
		}
	}
}

// Sum returns the vector of gradients of node i of the last batch.
func (p *plan) Sum(i int) []float32 { return p.totals[i] }

// UseSum makes v the vector of gradients of node i.
func (p *plan) UseSum(i int, v []float32) { p.totals[i] = v }

// Close frees the plan's memory. Closing a second time does nothing.
func (p *plan) Close() error {
	*p = plan{closed: true}
	return nil
}

// admit takes up a batch of n images, or says what is wrong with it.
func (p *plan) admit(b *device.Batch, n int, labelled bool) error {
	switch values := p.graph.Input.Values(); {
	case n > p.options.Images:
		return fmt.Errorf("%d images: the plan was compiled for %d", n, p.options.Images)
	case len(b.Images) != n*values:
		return fmt.Errorf("%d values of images: want %d, %d images of %d", len(b.Images), n*values, n, values)
	case labelled && len(b.Labels) != n:
		return fmt.Errorf("%d labels for %d images", len(b.Labels), n)
	}
	if labelled {
		for i, label := range b.Labels {
			if label < 0 || int(label) >= p.graph.Classes {
				return fmt.Errorf("label %d of image %d: want 0 to %d", label, i, p.graph.Classes-1)
			}
		}
	}
	p.batch, p.images, p.blocks = b, n, (n+lanes-1)/lanes
	return nil
}
