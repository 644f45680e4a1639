package device

import (
	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/model/params"
)

// Device is hardware that runs networks.
type Device interface {
	// Name tells what it is, for logs and status: cpu/2 avx2.
	Name() string
	// Compile binds g to the device and allocates all that its steps need. It
	// fails where the device can't run g or lacks the memory.
	Compile(g *Graph, o Options) (Plan, error)
	// Close gives back what the device holds; its plans must be closed before.
	Close() error
}

// Options size a plan.
type Options struct {
	Images int // most images of one batch, at least 1
	Nodes  int // most nodes of one batch; 0: the plan never trains, and holds no gradients

	Precision Precision // of the factors of products
	// Sums is the precision of gradients and of their sums, independent of Precision.
	// With BF16 every node of params' tree is a bfloat16, kept as a float32 whose
	// lower 16 bits are 0: a leaf is its shard's float32 gradient rounded to nearest,
	// ties to even, and an inner node is the float32 sum of its halves rounded so,
	// where both have images. NaNs stay NaNs, infinities infinities. So whoever adds
	// nodes up further and rounds each sum has the bits of a plan that owns them all.
	Sums Precision
}

// Plan is a network bound to a device.
type Plan interface {
	// Parameters is the host's vector of parameters, of Graph.Parameters values:
	// the plan's own until UseParameters, and valid until Close. The caller fills
	// it between calls and reports every range it has changed to Loaded before the
	// next call.
	Parameters() []float32
	// UseParameters makes v the host's vector of parameters: as long, and aligned
	// as params.NewVector's. The plan only reads it, and counts all of it as
	// changed. It is the caller's, who keeps it until another is used or Close.
	UseParameters(v []float32)
	// Loaded tells the plan that the values of r have changed.
	Loaded(r params.Range)

	// Gradient computes, for every node of b.Nodes, the sum over its shards of
	// the gradients of the images' cross-entropies (sums over images, not
	// means), rounded as Options.Sums says at every node of the tree, and a tally
	// for every shard of b.Shards, valid until the next call.
	// While it runs it calls ready, from one goroutine at a time, for each range
	// of each node as soon as Sum holds its final values; ready may be nil.
	Gradient(b *Batch, ready func(node int, r params.Range)) ([]Tally, error)
	// Sum is the host's vector of gradients of node i of the last batch, valid
	// until the next Gradient: the plan's own until UseSum. Its values are bfloat16s
	// where Options.Sums says so.
	Sum(i int) []float32
	// UseSum makes v the vector of gradients of node i from the next Gradient on:
	// of Graph.Parameters values, aligned as params.NewVector's, and zero, since the
	// plan does not write what it knows to be zero. It is the caller's.
	UseSum(i int, v []float32)

	// Evaluate runs the network in testing form and returns a tally for every
	// shard of b.Shards, valid until the next call. Seed, step, numbers of images
	// and nodes are not read.
	Evaluate(b *Batch) ([]Tally, error)
	// Predict runs the network in testing form and writes the probabilities of
	// all images: p (N, Classes). Of b, Images alone is read, and Logits filled.
	Predict(p []float32, b *Batch) error

	// Close frees the plan's memory.
	Close() error
}

// Batch is the images of some shards, one shard after the other.
type Batch struct {
	Seed   uint64
	Step   params.Step
	Images []float32 // (N, C, H, W), as the network takes them
	Labels []int32   // (N), from 0
	Index  []uint32  // (N), number of each image in its set: with seed, step and layer it keys dropout
	Shards []ShardImages
	Nodes  []params.Node // nodes whose shards are in Shards or have no images; only for Gradient

	// Await, where it is not nil, is called by Gradient, from the caller's goroutine,
	// before it reads the parameters of r: it returns once they are in the plan's
	// vector and Loaded has been told, or an error, with which Gradient ends. First
	// layers come first, so that a step may begin while parameters still come in.
	Await func(r params.Range) error

	// Factors, where it is not nil, asks Gradient for factors in place of some sums.
	Factors *Factors

	// Predicted, where it is not nil, is filled by Evaluate: the class that ranks
	// first for each image (N), as Tally.Top1 counts; -1 where logits are NaN and
	// none does.
	Predicted []int32
	// Logits, where it is not nil, is filled by Predict: the network's outputs
	// (N, Classes), of which the probabilities are the softmax.
	Logits []float32
}

// ShardImages says that the next Images images belong to Shard. Shards ascend.
type ShardImages struct {
	Shard, Images int
}

// Tally is what the forward passes of one shard's images add up to.
type Tally struct {
	Shard, Images int
	Loss          float64 // sum of the cross-entropies, in the order of the images
	Top1, Top5    int     // images whose label ranked first, or among the first five
}

// Mask appends to keep, for each of the first n values of an image at a
// dropout layer, whether it is kept: where a random 16-bit number is at least
// round(p * 65536). Words come from philox's place (seed, Dropout+layer, step,
// index), two numbers a word, low half first.
func Mask(keep []bool, n int, p float32, seed uint64, layer uint32, step params.Step, index uint32) []bool {
	s := philox.New(seed, philox.Dropout+philox.Purpose(layer), uint32(step), index)
	threshold := Threshold(p)
	for i := 0; i < n; i += 2 {
		w := s.Uint32()
		keep = append(keep, w&0xffff >= threshold)
		if i+1 < n {
			keep = append(keep, w>>16 >= threshold)
		}
	}
	return keep
}

// Threshold is round(p * 65536): a value is kept where its 16 random bits are at least that.
func Threshold(p float32) uint32 { return uint32(float64(p)*65536 + 0.5) }
