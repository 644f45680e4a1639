package devicetest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// alone returns the gradient and tally of one shard, computed by itself on a
// plan of its own.
func alone(d device.Device, g *device.Graph, shard int, counts []int) ([]float32, device.Tally, error) {
	p, err := compile(d, g, max(1, counts[shard]), 1)
	if err != nil {
		return nil, device.Tally{}, err
	}
	b := batch(g, []int{shard}, counts)
	b.Nodes = []params.Node{params.Leaf(shard)}
	tallies, err := p.Gradient(b, nil)
	if err != nil {
		return nil, device.Tally{}, err
	}
	if len(tallies) != 1 {
		return nil, device.Tally{}, fmt.Errorf("%d tallies for one shard", len(tallies))
	}
	return slices.Clone(p.Sum(0)), tallies[0], p.Close()
}

// leaves returns the leaf of each shard.
func leaves(shards []int) []params.Node {
	var nodes []params.Node
	for _, s := range shards {
		nodes = append(nodes, params.Leaf(s))
	}
	return nodes
}

// shardAmongOthers compares shards of one batch, at all lanes, with each alone.
func shardAmongOthers(d device.Device) error {
	g := whole()
	counts := []int{3, 16, 1, 5, 17, 2}
	shards := []int{0, 1, 2, 3, 4, 5}
	p, err := compile(d, g, 44, len(shards))
	if err != nil {
		return err
	}
	b := batch(g, shards, counts)
	b.Nodes = leaves(shards)
	tallies, err := p.Gradient(b, nil)
	if err != nil {
		return err
	}
	tallies = slices.Clone(tallies)
	for i, s := range shards {
		want, tally, err := alone(d, g, s, counts)
		if err != nil {
			return err
		}
		if err := sameBits(fmt.Sprintf("shard %d among others", s), p.Sum(i), want); err != nil {
			return err
		}
		if err := sameTally(fmt.Sprintf("shard %d among others", s), tallies[i], tally); err != nil {
			return err
		}
	}
	return p.Close()
}

// callsBefore repeats a batch, with other batches and calls in between.
func callsBefore(d device.Device) error {
	g := whole()
	counts := []int{9, 11, 20}
	p, err := compile(d, g, 40, 1)
	if err != nil {
		return err
	}
	small := batch(g, []int{0}, counts)
	small.Nodes = leaves([]int{0})
	big := batch(g, []int{0, 1, 2}, counts)
	big.Nodes = []params.Node{params.Root(3)}
	var want []float32
	var tally device.Tally
	for round := range 3 {
		tallies, err := p.Gradient(small, nil)
		if err != nil {
			return err
		}
		if round == 0 {
			want, tally = slices.Clone(p.Sum(0)), tallies[0]
		}
		if err := sameBits(fmt.Sprintf("call %d", round), p.Sum(0), want); err != nil {
			return err
		}
		if err := sameTally(fmt.Sprintf("call %d", round), tallies[0], tally); err != nil {
			return err
		}
		if round == 0 {
			continue
		}
		if _, err := p.Gradient(big, nil); err != nil {
			return err
		}
		if _, err := p.Evaluate(big); err != nil {
			return err
		}
		if err := p.Predict(make([]float32, 40*g.Classes), big); err != nil {
			return err
		}
	}
	return p.Close()
}

// anySize puts a shard behind another of every size from 0 to 39.
func anySize(d device.Device) error {
	g := from(3, 5, 5).conv(6, 3, 2, 1, 1).relu().pool(device.MaxPool, 2, 2, 2, 1, 0, 0).
		dense(7).relu().dropout(0.5, true).dense(3).done()
	counts := []int{0, 5}
	want, tally, err := alone(d, g, 1, counts)
	if err != nil {
		return err
	}
	p, err := compile(d, g, 44, 1)
	if err != nil {
		return err
	}
	for n := range 40 {
		counts[0] = n
		b := batch(g, []int{0, 1}, counts)
		b.Nodes = leaves([]int{1})
		tallies, err := p.Gradient(b, nil)
		if err != nil {
			return err
		}
		if err := sameBits(fmt.Sprintf("behind %d images", n), p.Sum(0), want); err != nil {
			return err
		}
		if err := sameTally(fmt.Sprintf("behind %d images", n), tallies[1], tally); err != nil {
			return err
		}
	}
	return p.Close()
}

// loaded changes parameters, some at a time, and compares with plans that had
// them from the first.
func loaded(d device.Device) error {
	g := whole()
	p, err := compile(d, g, 3, 1)
	if err != nil {
		return err
	}
	b := batch(g, []int{0}, []int{3})
	b.Nodes = leaves([]int{0})
	other := make([]float32, g.Parameters)
	parameters(other, g, 6)
	if _, err := p.Gradient(b, nil); err != nil {
		return err
	}
	for _, op := range g.Ops {
		weight, bias, fan := parametersOf(op)
		if fan == 0 {
			continue
		}
		middle := (weight.First + weight.End) / 2
		for _, r := range []params.Range{{First: middle, End: weight.End}, bias, {First: weight.First, End: middle}} {
			copy(r.Of(p.Parameters()), r.Of(other))
			p.Loaded(r)
			fresh, err := compile(d, g, 3, 1)
			if err != nil {
				return err
			}
			copy(fresh.Parameters(), p.Parameters())
			fresh.Loaded(params.Range{First: 0, End: g.Parameters})
			if _, err := fresh.Gradient(b, nil); err != nil {
				return err
			}
			if _, err := p.Gradient(b, nil); err != nil {
				return err
			}
			if err := sameBits(fmt.Sprintf("with %v of %s loaded", r, op.Label()), p.Sum(0), fresh.Sum(0)); err != nil {
				return err
			}
			if err := fresh.Close(); err != nil {
				return err
			}
		}
	}
	return p.Close()
}

// sideBySide runs plans of one device at the same time.
func sideBySide(d device.Device) error {
	g := whole()
	counts := []int{2, 5, 9}
	var wait sync.WaitGroup
	errs := make([]error, len(counts))
	for s := range counts {
		want, _, err := alone(d, g, s, counts)
		if err != nil {
			return err
		}
		wait.Go(func() {
			for range 3 {
				got, _, err := alone(d, g, s, counts)
				if err == nil {
					err = sameBits(fmt.Sprintf("shard %d beside other plans", s), got, want)
				}
				if err != nil {
					errs[s] = err
					return
				}
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
