package cpu

import "github.com/muster-train/muster/internal/kernel"

// With bfloat16, each 32-bit word of a product's factors is a pair: two that
// follow each other in a chain. Forward pairs input channels, backward output
// channels, and the gradient of weights pairs images; an odd last one pairs with
// zero. Where channels stood, pairs of them stand, so that products, strips and
// panels are laid out as ever.

// inPairs returns g with pairs of input channels for channels.
func (g geometry) inPairs() geometry {
	g.cg = half(g.cg)
	g.in.C = g.groups * g.cg
	return g
}

// outPairs returns g with pairs of output channels for channels.
func (g geometry) outPairs() geometry {
	g.kg = half(g.kg)
	g.out.C = g.groups * g.kg
	return g
}

// half returns how many pairs n factors make.
func half(n int) int { return (n + 1) / 2 }

// pairRow makes the pairs of a row of weights.
func (l *matmul) pairRow(k int) {
	src := l.weights()[k*l.row : (k+1)*l.row]
	n := half(l.cg)
	dst := l.paired[k*len(l.taps)*n : (k+1)*len(l.taps)*n]
	for tap := range l.taps {
		kernel.PairNext(dst[tap*n:(tap+1)*n], src[tap*l.cg:(tap+1)*l.cg])
	}
}

// both returns the places among the weights of a tile's first channel at the two
// output channels that are place q of the backward axis; lower is -1 where there
// is one.
func (l *matmul) both(tl tile, q int) (upper, lower int) {
	pairs := half(l.kg)
	k := 2 * (q % pairs)
	upper = l.factor(tl, q/pairs*l.kg+k)
	if k+1 == l.kg {
		return upper, -1
	}
	return upper, upper + l.row
}

// lowerOf returns the n weights from place at on, nil where it is -1.
func lowerOf(w []float32, at, n int) []float32 {
	if at < 0 {
		return nil
	}
	return w[at : at+n]
}

// pairUp writes the pairs of a tile's channels at place q of the backward axis.
func (l *matmul) pairUp(dst, scratch []float32, tl tile, q int) {
	w := l.weights()
	upper, lower := l.both(tl, q)
	if n := max(upper, lower) + lanes; n <= len(w) { // a whole vector, at once
		kernel.Pair(scratch[:lanes], w[upper:upper+lanes], lowerOf(w, lower, lanes))
		copy(dst, scratch)
		return
	}
	kernel.Pair(dst, w[upper:upper+len(dst)], lowerOf(w, lower, len(dst)))
}

// factors returns activations of that many pixels, and channels of a group, as
// the chains of forward and backward read them: valid until the next call.
func (l *matmul) factors(x []float32, pixels, channels int) []float32 {
	if !l.p.bf16() {
		return x
	}
	l.p.pairing = pairing{dst: l.p.pairs, x: x, channels: channels * lanes, pairs: half(channels) * lanes, groups: l.groups}
	l.p.pool.run(l.p.blocks*pixels, &l.p.pairing)
	return l.p.pairs
}

// pairing makes pairs of the channels of each group of one pixel.
type pairing struct {
	dst, x          []float32
	channels, pairs int // values of a group
	groups          int
}

func (t *pairing) do(_, unit int) {
	for g := unit * t.groups; g < (unit+1)*t.groups; g++ {
		kernel.PairRows(t.dst[g*t.pairs:(g+1)*t.pairs], t.x[g*t.channels:(g+1)*t.channels])
	}
}

// Images are paired for the gradient of weights. Chains of one shard must not
// take in the next shard's images: where a shard ends within a pair, that pair
// keeps its first image, and the other stands, behind zero, in a second copy, the
// edge. What it meets, images in order, needs no such care: a factor of zero
// leaves a chain as it is, unless it meets what is not finite, and then no sum of
// that step counts.

// imagePairs is the gradients of a layer's outputs, as pairs of images:
// [edge][lane block][pixel][channel][8].
type imagePairs matmul

func (t *imagePairs) do(_, unit int) {
	l := (*matmul)(t)
	n := l.out.C * pairsOfLanes
	dst := l.p.pairs[unit*n : (unit+1)*n]
	kernel.PairNext(dst, l.dw.dy[unit*l.out.C*lanes:(unit+1)*l.out.C*lanes])
	edge := l.p.pairs[l.edge()+unit*n:][:n]
	block := unit / l.pixels
	for i := range l.p.sums.spans {
		end := l.p.sums.spans[i].end
		if end%2 == 1 && end/lanes == block {
			for at := end % lanes / 2; at < n; at += pairsOfLanes {
				edge[at], dst[at] = kernel.SplitPair(dst[at])
			}
		}
	}
}

// pairStripes makes the pairs of a row of stripes, which begins at place row.
func (l *matmul) pairStripes(row int) {
	s := &l.dw.stripes
	for pair := range pairsOfLanes {
		upper := l.dw.x[row+2*pair*s.lane:]
		kernel.Pair(l.dw.paired[row/2+pair*s.lane:][:s.lane], upper[:s.lane], upper[s.lane:2*s.lane])
	}
}

// pairsOfLanes is how many pairs the images of a lane block make.
const pairsOfLanes = lanes / 2

// imageStep returns how many values, or pairs, the images of a lane block are.
func (p *plan) imageStep() int {
	if p.bf16() {
		return pairsOfLanes
	}
	return lanes
}

// edge returns how far behind its pair an edge lies.
func (l *matmul) edge() int { return l.p.mostBlocks * l.outSize / 2 }
