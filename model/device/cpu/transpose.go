package cpu

import "github.com/muster-train/muster/internal/kernel"

// transposeTask makes the panels of one pixel of one lane block for the
// gradient of the weights.
type transposeTask matmul

func (t *transposeTask) do(_, unit int) {
	l := (*matmul)(t)
	d := &l.dw
	x := l.x[unit*l.in.C*lanes : (unit+1)*l.in.C*lanes]
	per := d.panels * lanes * lanes
	for g := range l.groups {
		dst := d.x[(unit*l.groups+g)*per : (unit*l.groups+g+1)*per]
		for first := 0; first < d.columns; first += lanes {
			panel := (*[lanes * lanes]float32)(dst[first*lanes:])
			for j, at := range d.source[first:min(first+lanes, d.columns)] {
				src := (*[lanes]float32)(x[g*l.cg*lanes+int(at):])
				for lane, v := range src {
					panel[lane*lanes+j] = v
				}
			}
		}
	}
}

// shardIm2col is shard where the columns are channels at taps: it makes the
// panels for some pixels and images at a time. Taps outside the image are zeros.
func (d *weightGradient) shardIm2col(l *matmul, c []float32, u *piece, images span, panels []float32, thread int) {
	a := d.dy[(u.group*l.kg+u.row)*lanes:]
	perBlock := u.panels * lanes * lanes
	blocks := l.p.chain[thread][:0]
	begun := false
	for oy := range l.out.H {
		for ox := range l.out.W {
			out := (oy*l.out.W + ox) * l.out.C * lanes
			for i := images.first; i < images.end; {
				block, lane := i/lanes, i%lanes
				n := min(lanes-lane, images.end-i)
				i += n
				if len(blocks) == im2colBlocks {
					d.tiles(c, u, a, panels, blocks, begun)
					blocks, begun = blocks[:0], true
				}
				at := len(blocks) * perBlock
				d.gather(l, panels[at:at+perBlock], u, oy, ox, block, lane, n)
				blocks = append(blocks, kernel.Block{A: block*l.outSize + out + lane, B: at, K: n})
			}
		}
	}
	d.tiles(c, u, a, panels, blocks, begun)
}

// gather writes the panels of a piece at one output pixel for n images of a
// lane block, the first of which becomes the panels' lane 0.
func (d *weightGradient) gather(l *matmul, dst []float32, u *piece, oy, ox, block, lane, n int) {
	top, left := oy*l.stride-l.padTop, ox*l.stride-l.padLeft
	x := l.x[block*l.inSize+u.group*l.cg*lanes+lane:]
	for j := range u.columns {
		column := dst[j/lanes*lanes*lanes+j%lanes:]
		c, tapNumber := int(d.source[u.first+j])/len(l.taps), int(d.source[u.first+j])%len(l.taps)
		iy, ix := top+l.taps[tapNumber].r, left+l.taps[tapNumber].s
		if iy < 0 || iy >= l.in.H || ix < 0 || ix >= l.in.W {
			for i := range n {
				column[i*lanes] = 0
			}
			continue
		}
		src := x[((iy*l.in.W+ix)*l.in.C+c)*lanes:]
		for i, v := range src[:n] {
			column[i*lanes] = v
		}
	}
}
