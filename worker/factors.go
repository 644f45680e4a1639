package worker

import (
	"slices"

	"github.com/muster-train/muster/internal/wire"
	"github.com/muster-train/muster/model"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// factoring has a plan hand out factors, of the tensors whose gradients a job exchanges
// so, and gives them to outgoing in place of the chunks that they stand for. Each
// shard's go by themselves: a node's sum is no product of few images.
//
// The plan writes them where they are sent from. Where it leaves a tensor alone, its
// chunks are sent as sums.
type factoring struct {
	of       []model.Factored
	outgoing *outgoing
	request  device.Factors
	filling  []filling // asked for by the plan and not done
}

type filling struct {
	part, shard int
	values      *wire.Operands
}

// newFactoring is for a network's steps of so many images; nil where nothing is factored.
func newFactoring(network *model.Network, batch int, o *outgoing) *factoring {
	f := &factoring{of: network.Factored(batch), outgoing: o}
	if len(f.of) == 0 {
		return nil
	}
	for i := range f.of {
		f.request.Parts = append(f.request.Parts, f.of[i].Whole())
	}
	f.request.Room, f.request.Done = f.room, f.done
	return f
}

// ask is what a batch asks a plan for.
func (f *factoring) ask() *device.Factors {
	if f == nil {
		return nil
	}
	f.filling = f.filling[:0]
	return &f.request
}

// most is how many messages a batch of so many shards makes at most.
func (f *factoring) most(shards int) int {
	if f == nil {
		return 0
	}
	return len(f.of) * shards
}

func (f *factoring) room(part int, s device.ShardImages) (activations, deltas []float32) {
	of := &f.of[part]
	values := wire.NewOperands(of.Values(s.Images))
	f.filling = append(f.filling, filling{part, s.Shard, values})
	all := values.Floats()
	return all[:s.Images*of.In], all[s.Images*of.In:]
}

func (f *factoring) done(part int, s device.ShardImages) {
	at := slices.IndexFunc(f.filling, func(x filling) bool { return x.part == part && x.shard == s.Shard })
	values := f.filling[at].values
	f.filling = slices.Delete(f.filling, at, at+1)
	of := &f.of[part]
	first, end := of.Chunks()
	f.outgoing.factored(params.Range{First: first, End: end}, wire.Factors{
		Shard: uint32(s.Shard), Tensor: uint32(of.Tensor), Images: uint32(s.Images), Values: values,
		First: uint32(first), End: uint32(end),
	})
}
