package devicetest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// collector takes the factors of a batch, for parts of all fully connected layers
// of a graph: all but the first value, and the last two.
type collector struct {
	*device.Factors
	layers []*device.Dense // by part
	rooms  [][]factorRoom  // by part, and shard of the batch
	wrong  error           // that Room and Done were not called as they should
}

// factorRoom is what is wanted of a shard.
type factorRoom struct {
	device.ShardImages
	activations, deltas []float32
	asked, done         bool
}

func newCollector(g *device.Graph, b *device.Batch) *collector {
	c := &collector{Factors: &device.Factors{}}
	for _, op := range g.Ops {
		op, ok := op.(*device.Dense)
		if !ok {
			continue
		}
		c.layers = append(c.layers, op)
		c.Parts = append(c.Parts, params.Range{First: op.Weight.First + 1, End: op.Weight.End - 2})
		var rooms []factorRoom
		for _, s := range b.Shards {
			rooms = append(rooms, factorRoom{
				ShardImages: s,
				activations: make([]float32, s.Images*op.In.Values()), deltas: make([]float32, s.Images*op.Out.C),
			})
		}
		c.rooms = append(c.rooms, rooms)
	}
	c.Room = func(part int, s device.ShardImages) (activations, deltas []float32) {
		r := c.of(part, s)
		if r.asked {
			c.wrong = fmt.Errorf("room for part %d of %+v is asked for twice", part, s)
		}
		r.asked = true
		return r.activations, r.deltas
	}
	c.Done = func(part int, s device.ShardImages) {
		r := c.of(part, s)
		if !r.asked || r.done {
			c.wrong = fmt.Errorf("part %d of %+v is done that was not asked for, or twice", part, s)
		}
		r.done = true
	}
	return c
}

// of finds the room of a shard. In what a step may call often nothing is allocated.
func (c *collector) of(part int, s device.ShardImages) *factorRoom {
	if part >= 0 && part < len(c.rooms) {
		for i := range c.rooms[part] {
			if r := &c.rooms[part][i]; r.ShardImages == s && s.Images > 0 {
				return r
			}
		}
	}
	c.wrong = errors.New("factors of a part or a shard that the batch has not, or that has no images")
	return &factorRoom{}
}

// handedOut tells whether a device handed out a part: of all shards with images, or of none.
func (c *collector) handedOut(part int) (bool, error) {
	done, images := 0, 0
	for _, r := range c.rooms[part] {
		if r.Images > 0 {
			images++
		}
		if r.done {
			done++
		}
	}
	if done != 0 && done != images {
		return false, fmt.Errorf("part %d was handed out of %d shards, %d have images", part, done, images)
	}
	return done > 0, nil
}

// product is a shard's gradient of a layer's weights by its factors.
func (r *factorRoom) product(op *device.Dense) []float32 {
	in, out := op.In.Values(), op.Out.C
	sum := make([]float32, out*in)
	for n := range r.Images {
		for k := range out {
			for i := range in {
				sum[k*in+i] = kernel.FMA(r.deltas[n*out+k], r.activations[n*in+i], sum[k*in+i])
			}
		}
	}
	return sum
}

// factors compares what a plan hands out, and the sums beside it, with the sums of
// a plan that was asked for nothing else. Masks and activations make zeros among
// activations and deltas; shards have few images and many, and lie across lanes.
func factors(d device.Device) error {
	for _, g := range []*device.Graph{
		from(7, 1, 1).dense(13).done(),
		from(2, 3, 3).conv(17, 3, 1, 1, 1).relu().dense(35).relu().dropout(0.5, true).dense(21).act(device.LeakyReLU, 0.1).dense(3).done(),
		from(3, 2, 2).act(device.Softplus, 0).dense(300).dropout(0.25, false).dense(4).done(),
	} {
		if err := factorsOf(d, g); err != nil {
			return err
		}
	}
	return nil
}

func factorsOf(d device.Device, g *device.Graph) error {
	counts := []int{3, 16, 0, 1, 18, 2}
	shards := []int{0, 1, 2, 3, 4, 5}
	nodes := append(leaves(shards), params.Root(len(shards)))
	p, err := compile(d, g, 40, len(nodes))
	if err != nil {
		return err
	}
	b := batch(g, shards, counts)
	b.Nodes = nodes
	sums := func() (all [][]float32) {
		for i := range nodes {
			all = append(all, slices.Clone(p.Sum(i)))
		}
		return all
	}
	if _, err := p.Gradient(b, nil); err != nil {
		return err
	}
	want := sums()
	// What the plan leaves as it is must not look right by what was there before.
	b.Step++
	if _, err := p.Gradient(b, nil); err != nil {
		return err
	}
	b.Step--
	c := newCollector(g, b)
	b.Factors = c.Factors
	seen, times := sums(), make([]int, g.Parameters*len(nodes))
	if _, err := p.Gradient(b, func(node int, r params.Range) {
		copy(r.Of(seen[node]), r.Of(p.Sum(node)))
		for at := r.First; at < r.End; at++ {
			times[node*g.Parameters+at]++
		}
	}); err != nil {
		return err
	}
	if c.wrong != nil {
		return c.wrong
	}
	for part, op := range c.layers {
		handed, err := c.handedOut(part)
		if err != nil {
			return err
		}
		if !handed {
			continue
		}
		of := c.Parts[part]
		for i, r := range c.rooms[part] {
			if err := sameBits(fmt.Sprintf("product of the factors of %s, shard %d", op.Label(), shards[i]), r.product(op), op.Weight.Of(want[i])); err != nil {
				return err
			}
		}
		for node := range nodes {
			for at := of.First; at < of.End; at++ {
				times[node*g.Parameters+at]++ // so that it is once for what is right
				seen[node][at] = want[node][at]
			}
		}
	}
	if at := slices.IndexFunc(times, func(n int) bool { return n != 1 }); at >= 0 {
		return fmt.Errorf("value %d of node %v was told of %d times, as a sum or in factors", at%g.Parameters, nodes[at/g.Parameters], times[at])
	}
	for i, n := range nodes {
		if err := sameBits(fmt.Sprintf("node %v beside factors", n), seen[i], want[i]); err != nil {
			return err
		}
	}
	b.Factors = nil
	if _, err := p.Gradient(b, nil); err != nil {
		return err
	}
	for i, n := range nodes {
		if err := sameBits(fmt.Sprintf("node %v after a batch with factors", n), p.Sum(i), want[i]); err != nil {
			return err
		}
	}
	return p.Close()
}
