package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// short returns numbers that bfloat16 holds, some of them far smaller than
// others, so that sums of their products must be rounded.
func short(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(128+r.IntN(128)) * float32(math.Ldexp(1, r.IntN(17)-15))
		if r.IntN(2) == 0 {
			x[i] = -x[i]
		}
	}
	return x
}

// alone is a plan of one layer with weights.
func alone(op device.Op, threads, images, parameters int, precision device.Precision) (*plan, *matmul) {
	in, out := op.Shapes()
	o := device.Options{Images: images, Nodes: 2, Precision: precision}
	p := &plan{
		pool: &pool{threads: threads}, options: o, mostBlocks: (images + lanes - 1) / lanes, sums: newSums(o),
		graph: &device.Graph{Input: in, Classes: out.Values(), Ops: []device.Op{op}, Parameters: parameters},
	}
	if err := p.pool.start(); err != nil {
		panic(err)
	}
	l := newLayer(p, op, false)
	p.layers = []layer{l}
	p.softmax = newSoftmax(p, out.Values(), images)
	p.allocate()
	return p, l.(*matmul)
}

// TestShortFactorsGiveTheBitsOfFloat32 runs layers whose factors bfloat16 holds
// with both precisions: activations, gradients and sums must be the same, for
// odd and even channels, in groups, of all images and of shards that end within
// a pair.
func TestShortFactorsGiveTheBitsOfFloat32(t *testing.T) {
	defer kernel.Select("")
	conv := func(c, k, groups, extent, stride, pad, side int) device.Op {
		out := (side+2*pad-extent)/stride + 1
		return &device.Conv{
			Place:  device.Place{In: device.Shape{C: c, H: side, W: side}, Out: device.Shape{C: k, H: out, W: out}},
			Kernel: extent, Stride: stride, PadTop: pad, PadLeft: pad, Groups: groups,
			Weight: params.Range{First: 0, End: k * c / groups * extent * extent}, Bias: params.Range{First: k * c / groups * extent * extent, End: k*c/groups*extent*extent + k},
		}
	}
	dense := func(in device.Shape, k int) device.Op {
		n := in.Values() * k
		return &device.Dense{Place: device.Place{In: in, Out: device.Shape{C: k, H: 1, W: 1}}, Weight: params.Range{First: 0, End: n}, Bias: params.Range{First: n, End: n + k}}
	}
	ops := map[string]device.Op{
		"few channels, as stripes":       conv(3, 20, 1, 3, 1, 1, 6),
		"few channels, large kernel":     conv(3, 17, 1, 5, 2, 1, 9),
		"odd channels, transposed":       conv(19, 33, 1, 3, 1, 1, 4),
		"even channels":                  conv(32, 30, 1, 3, 2, 1, 5),
		"groups of odd channels":         conv(34, 30, 2, 3, 1, 1, 4),
		"groups as stripes":              conv(10, 6, 2, 3, 1, 1, 5),
		"taps on padding alone":          conv(16, 20, 1, 3, 1, 1, 1),
		"many channels, in segments":     conv(400, 20, 1, 3, 1, 1, 2),
		"fully connected":                dense(device.Shape{C: 40, H: 1, W: 1}, 21),
		"fully connected, odd, of maps":  dense(device.Shape{C: 5, H: 3, W: 3}, 10),
		"fully connected, many channels": dense(device.Shape{C: 1500, H: 1, W: 1}, 16),
	}
	for _, name := range kernel.Names() {
		if err := kernel.Select(name); err != nil {
			t.Fatal(err)
		}
		for what, op := range ops {
			for _, shards := range [][]int{{16, 16}, {1, 2, 5, 8, 3}, {7}, {1, 1, 1, 14, 15, 1}} {
				checkShort(t, fmt.Sprintf("%s kernels, %s, shards of %v", name, what, shards), op, shards)
			}
		}
	}
}

func checkShort(t *testing.T, what string, op device.Op, shards []int) {
	t.Helper()
	r := rand.New(rand.NewPCG(3, 4))
	images, b := 0, &device.Batch{Nodes: []params.Node{{First: 0, End: 2}, {First: 2, End: 8}}}
	for i, n := range shards {
		images += n
		b.Shards = append(b.Shards, device.ShardImages{Shard: i, Images: n})
	}
	in, out := op.Shapes()
	blocks := (images + lanes - 1) / lanes
	bias := biasOf(op)
	w, x, dy := short(r, bias.End), short(r, blocks*in.Values()*lanes), short(r, blocks*out.Values()*lanes)
	var want [4][]float32
	for _, precision := range []device.Precision{device.F32, device.BF16} {
		p, l := alone(op, 2, images, bias.End, precision)
		copy(p.values, w)
		copy(p.input, x)
		p.batch, p.images, p.blocks = b, images, blocks
		p.sums.plan(b)
		dx := make([]float32, len(x))
		l.pack()
		l.forward(true)
		l.gradient(dy)
		l.backward(dx, dy)
		got := [4][]float32{l.y[:len(dy)], dx, p.totals[0], p.totals[1]}
		p.pool.stop()
		if precision == device.F32 {
			want = got
			continue
		}
		for k, part := range []string{"output", "gradient of the input", "sum of the first node", "sum of the second"} {
			for i := range want[k] {
				if g, w := got[k][i], want[k][i]; math.Float32bits(g) != math.Float32bits(w) {
					t.Errorf("%s: value %d of the %s is %g, want %g", what, i, part, g, w)
					break
				}
			}
		}
	}
}

// TestLargeGradientsNeedNotBeAligned gives a layer whose gradient is written past the
// caches, by vectors that must begin at lines of them, a place where they do not.
func TestLargeGradientsNeedNotBeAligned(t *testing.T) {
	const side, images = 1 << 10, 4
	gradient := func(first int) []float32 {
		shape, n := device.Shape{C: side, H: 1, W: 1}, first+side*side
		op := &device.Dense{
			Place:  device.Place{In: shape, Out: shape},
			Weight: params.Range{First: first, End: n}, Bias: params.Range{First: n, End: n + side},
		}
		p, l := alone(op, 2, images, n+side, device.F32)
		defer p.pool.stop()
		r := rand.New(rand.NewPCG(5, 6))
		copy(p.input, short(r, side*lanes))
		dy := short(r, side*lanes)
		p.images, p.blocks = images, 1
		p.sums.plan(&device.Batch{Shards: []device.ShardImages{{Shard: 0, Images: images}}, Nodes: []params.Node{{First: 0, End: 1}}})
		l.gradient(dy)
		return op.Weight.Of(p.totals[0])
	}
	if want := gradient(0); !slices.Equal(gradient(3), want) {
		t.Error("the gradient depends on its place")
	}
}

func biasOf(op device.Op) params.Range {
	switch op := op.(type) {
	case *device.Conv:
		return op.Bias
	case *device.Dense:
		return op.Bias
	}
	panic("no weights")
}
