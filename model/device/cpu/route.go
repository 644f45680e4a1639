package cpu

import "github.com/muster-train/muster/internal/kernel"

// A segment is how long a stretch of all chains is worked on before the next:
// its rows of a tile's factors and the activations of a lane block that meet
// them stay in the nearest cache.
const (
	segmentValues = 384
	stripValues   = 192 // where the factors are strips, which fill lines less well
)

// segments cuts chains at the same places for all pixels. The axis that is cut
// is that of a packed row: taps outermost, channels innermost.
type segments struct {
	length int // of the axis
	step   int // of each segment but the last
	count  int
}

// newSegments cuts length into the fewest equal segments of at most most.
func newSegments(length, most int) segments {
	step := evenly(length, most)
	return segments{length: length, step: step, count: (length + step - 1) / step}
}

// bounds returns the part [first, end) of the axis that is segment i.
func (s segments) bounds(i int) (first, end int) {
	return i * s.step, min((i+1)*s.step, s.length)
}

// A route is the blocks of one pixel's chains, by segment, relative to a base
// among the activations. Pixels with the same taps share one.
type route [][]kernel.Block

// A stop is a pixel's route and base.
type stop struct {
	base  int
	route route
}

// routeKey tells routes apart: the first and last tap of each axis.
type routeKey struct{ r0, r1, s0, s1 int }

// cut divides blocks, whose A are places on the axis, among the segments.
// scale turns places, counted from the segment's first, into offsets.
func (s segments) cut(blocks []kernel.Block, scale int) route {
	out := make(route, s.count)
	for i := range out {
		first, end := s.bounds(i)
		for _, b := range blocks {
			lo, hi := max(b.A, first), min(b.A+b.K, end)
			if lo >= hi {
				continue
			}
			out[i] = append(out[i], kernel.Block{A: (lo - first) * scale, B: b.B + (lo-b.A)*lanes, K: hi - lo})
		}
	}
	return out
}

// forwardStops returns, for each output pixel, where its chains find inputs.
func (g *geometry) forwardStops(seg segments) []stop {
	known := map[routeKey]route{}
	stops := make([]stop, 0, g.pixels)
	for oy := range g.out.H {
		r0, r1 := inside(oy, g.stride, g.padTop, g.in.H, g.rows)
		for ox := range g.out.W {
			s0, s1 := inside(ox, g.stride, g.padLeft, g.in.W, g.columns)
			if r0 >= r1 || s0 >= s1 {
				stops = append(stops, stop{0, make(route, seg.count)})
				continue
			}
			key := routeKey{r0, r1, s0, s1}
			if known[key] == nil {
				known[key] = seg.cut(g.forwardBlocks(key), 1)
			}
			y, x := oy*g.stride+r0-g.padTop, ox*g.stride+s0-g.padLeft
			stops = append(stops, stop{(y*g.in.W + x) * g.in.C * lanes, known[key]})
		}
	}
	return stops
}

// forwardBlocks returns one block for each row of taps where the activations
// of neighbouring taps follow each other, else one for each tap.
func (g *geometry) forwardBlocks(key routeKey) []kernel.Block {
	var blocks []kernel.Block
	for r := key.r0; r < key.r1; r++ {
		for s := key.s0; s < key.s1; s++ {
			a := g.place[r*g.columns+s] * g.cg
			b := ((r-key.r0)*g.in.W + s - key.s0) * g.in.C * lanes
			if n := len(blocks); n > 0 {
				if last := &blocks[n-1]; last.A+last.K == a && last.B+last.K*lanes == b {
					last.K += g.cg
					continue
				}
			}
			blocks = append(blocks, kernel.Block{A: a, B: b, K: g.cg})
		}
	}
	return blocks
}

// backwardStops returns, for each input pixel, where its chains find the
// gradients of outputs. step is the distance of a segment's factors.
func (g *geometry) backwardStops(seg segments, step int) []stop {
	known := map[routeKey]route{}
	stops := make([]stop, 0, g.inPixels)
	for iy := range g.in.H {
		r0, r1, okY := reaching(iy, g.stride, g.padTop, g.out.H, g.rows)
		for ix := range g.in.W {
			s0, s1, okX := reaching(ix, g.stride, g.padLeft, g.out.W, g.columns)
			if !okY || !okX {
				stops = append(stops, stop{0, make(route, seg.count)})
				continue
			}
			key := routeKey{r0, r1, s0, s1}
			if known[key] == nil {
				known[key] = seg.cut(g.backwardBlocks(key), step)
			}
			// The last tap reaches the first output.
			oy, ox := (iy+g.padTop-r1)/g.stride, (ix+g.padLeft-s1)/g.stride
			stops = append(stops, stop{(oy*g.out.W + ox) * g.out.C * lanes, known[key]})
		}
	}
	return stops
}

func (g *geometry) backwardBlocks(key routeKey) []kernel.Block {
	var blocks []kernel.Block
	for r := key.r0; r <= key.r1; r += g.stride {
		for s := key.s0; s <= key.s1; s += g.stride {
			y, x := (key.r1-r)/g.stride, (key.s1-s)/g.stride
			blocks = append(blocks, kernel.Block{
				A: g.place[r*g.columns+s] * g.kg,
				B: (y*g.out.W + x) * g.out.C * lanes,
				K: g.kg,
			})
		}
	}
	return blocks
}
