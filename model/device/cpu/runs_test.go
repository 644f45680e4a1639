package cpu

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// chainOf is the gradient of one weight by its definition: one chain over the
// pixels of the output and the images of a shard.
func chainOf(c *device.Conv, x, dy []float32, s span, output, input, r, q int) float32 {
	groups := max(1, c.Groups)
	channel := output/(c.Out.C/groups)*(c.In.C/groups) + input
	var sum float32
	for oy := range c.Out.H {
		for ox := range c.Out.W {
			y, z := oy*c.Stride+r-c.PadTop, ox*c.Stride+q-c.PadLeft
			if y < 0 || y >= c.In.H || z < 0 || z >= c.In.W {
				continue
			}
			for i := s.first; i < s.end; i++ {
				block, lane := i/lanes, i%lanes
				a := dy[((block*c.Out.H*c.Out.W+oy*c.Out.W+ox)*c.Out.C+output)*lanes+lane]
				b := x[((block*c.In.H*c.In.W+y*c.In.W+z)*c.In.C+channel)*lanes+lane]
				sum = kernel.FMA(a, b, sum)
			}
		}
	}
	return sum
}

// TestWeightGradientsAreChainsOverPixelsAndImages compares layers of many
// pixels with the definition, where each shard's images are put together in runs
// and where they lie too long or across lane blocks.
func TestWeightGradientsAreChainsOverPixelsAndImages(t *testing.T) {
	defer kernel.Select("")
	conv := func(c, k, groups, extent, stride, pad, h, w int) *device.Conv {
		n := k * c / groups * extent * extent
		return &device.Conv{
			Place: device.Place{
				In:  device.Shape{C: c, H: h, W: w},
				Out: device.Shape{C: k, H: (h+2*pad-extent)/stride + 1, W: (w+2*pad-extent)/stride + 1},
			},
			Kernel: extent, Stride: stride, PadTop: pad, PadLeft: pad, Groups: groups,
			Weight: params.Range{First: 0, End: n}, Bias: params.Range{First: n, End: n + k},
		}
	}
	for what, op := range map[string]*device.Conv{
		"rows of pixels":  conv(18, 17, 1, 3, 1, 1, 10, 11),
		"a stride":        conv(16, 15, 1, 3, 2, 1, 20, 23),
		"groups":          conv(40, 6, 2, 3, 1, 1, 11, 10),
		"no padding":      conv(33, 5, 1, 2, 1, 0, 12, 11),
		"few channels":    conv(3, 20, 1, 3, 1, 1, 10, 11),
		"a kernel of one": conv(20, 30, 1, 1, 1, 0, 10, 10),
		"a large kernel":  conv(16, 5, 1, 9, 1, 4, 10, 10), // whose corners see few pixels
	} {
		for _, tc := range []struct {
			shards []int
			runs   bool
		}{
			{[]int{4, 4, 4}, true},
			{[]int{3, 5, 7}, true},
			{[]int{8, 8, 1}, true}, // the last in another lane block
			{[]int{1, 1, 1}, true},
			{[]int{9, 5, 2}, false}, // one is long
			{[]int{7, 7, 7}, false}, // one lies across
		} {
			for _, name := range kernel.Names() {
				if err := kernel.Select(name); err != nil {
					t.Fatal(err)
				}
				for _, sums := range []device.Precision{device.F32, device.BF16} {
					checkChains(t, fmt.Sprintf("%s kernels, %s, shards of %v, sums of %v", name, what, tc.shards, sums), op, tc.shards, tc.runs && op.In.C >= lanes, sums)
				}
			}
		}
	}
}

func checkChains(t *testing.T, what string, op *device.Conv, shards []int, runs bool, sums device.Precision) {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 8))
	images, b := 0, &device.Batch{Nodes: []params.Node{{First: 0, End: 2}, {First: 2, End: 3}}}
	for i, n := range shards {
		images += n
		b.Shards = append(b.Shards, device.ShardImages{Shard: i, Images: n})
	}
	blocks := (images + lanes - 1) / lanes
	p, l := alone(op, 2, 2*lanes, op.Bias.End, device.F32)
	defer p.pool.stop()
	p.options.Sums = sums
	kept := func(sum float32) float32 {
		x := []float32{sum}
		if sums == device.BF16 {
			kernel.Round(x, x)
		}
		return x[0]
	}
	noise := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = r.Float32() - 0.5
		}
		return x
	}
	copy(p.input, noise(blocks*op.In.Values()*lanes))
	dy := noise(2 * op.Out.Values() * lanes)

	// A batch before leaves the other kind of factors behind.
	before := []device.ShardImages{{Shard: 0, Images: lanes}}
	if !runs {
		before = []device.ShardImages{{Shard: 0, Images: 3}, {Shard: 1, Images: 2}}
	}
	p.batch, p.images, p.blocks = b, lanes, 1
	p.sums.plan(&device.Batch{Nodes: b.Nodes, Shards: before})
	l.gradient(dy)

	p.batch, p.images, p.blocks = b, images, blocks
	p.sums.plan(b)
	l.gradient(dy)
	if l.dw.runs != runs {
		t.Errorf("%s: in runs: %v, want %v", what, l.dw.runs, runs)
	}
	per := op.In.C / op.Groups
	for k, of := range [][]int{{0, 1}, {2}} {
		for range 60 {
			output, input, y, x := r.IntN(op.Out.C), r.IntN(per), r.IntN(op.Kernel), r.IntN(op.Kernel)
			got := op.Weight.Of(p.totals[k])[((output*per+input)*op.Kernel+y)*op.Kernel+x]
			want := kept(chainOf(op, p.input, dy, p.sums.spans[of[0]], output, input, y, x))
			for _, shard := range of[1:] {
				want = kept(want + kept(chainOf(op, p.input, dy, p.sums.spans[shard], output, input, y, x)))
			}
			if math.Float32bits(got) != math.Float32bits(want) {
				t.Errorf("%s: shards %v, weight %d,%d,%d,%d is %g, want %g", what, of, output, input, y, x, got, want)
				return
			}
		}
	}
}
