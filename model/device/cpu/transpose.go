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
		kernel.Transpose(dst, lanes, lanes*lanes, x[g*l.cg*lanes:], d.source)
	}
}

// quad is how many columns are transposed together.
const quad = 4

// outside is the column of taps outside the image, and of none.
var outside [lanes]float32

// transpose writes columns j to j+3 of a panel, j a multiple of 4.
func transpose(panel *[lanes * lanes]float32, j int, columns *[quad]*[lanes]float32) {
	a, b, c, d := columns[0], columns[1], columns[2], columns[3]
	for lane := range lanes {
		row := (*[quad]float32)(panel[lane*lanes+j:])
		row[0], row[1], row[2], row[3] = a[lane], b[lane], c[lane], d[lane]
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
	x := l.x[block*l.inSize+u.group*l.cg*lanes : (block+1)*l.inSize]
	taps := d.taps[u.first : u.first+u.columns]
	for j := 0; j < len(taps); j += quad {
		columns := [quad]*[lanes]float32{&outside, &outside, &outside, &outside}
		for i, t := range taps[j:min(j+quad, len(taps))] {
			if iy, ix := top+t.r, left+t.s; uint(iy) < uint(l.in.H) && uint(ix) < uint(l.in.W) {
				columns[i] = (*[lanes]float32)(x[((iy*l.in.W+ix)*l.in.C+t.c)*lanes:])
			}
		}
		panel := (*[lanes * lanes]float32)(dst[j/lanes*lanes*lanes:])
		if n == lanes {
			transpose(panel, j%lanes, &columns)
			continue
		}
		for i := range n {
			for k, column := range columns {
				panel[i*lanes+j%lanes+k] = column[lane+i]
			}
		}
	}
}
