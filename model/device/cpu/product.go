package cpu

import "github.com/muster-train/muster/internal/kernel"

const tileRows = kernel.TileRows

// product is the forward or the backward product of a layer: for each pixel
// and channel of the result one chain over the segments, in order.
type product struct {
	segments segments
	tiles    []tile
	stops    []stop // of the pixels of the result
	split    split  // of the batch at hand
}

// forward computes out: chains start from the bias.
func (l *matmul) forward(bool) {
	if l.p.blocks == 0 {
		return
	}
	l.forth.split = newSplit(len(l.forth.tiles), l.p.blocks*l.pixels, l.p.pool.threads, false)
	l.p.pool.run(l.forth.split.units(), (*forwardTask)(l))
}

type forwardTask matmul

// copyItems is for how many items a tile's weights are copied together first.
// Rows that lie a multiple of 4 KiB apart evict each other from the first
// cache: where they do, the product takes three times as long.
const copyItems = 4

// do computes one unit. A tile's weights of a segment meet all items of the
// unit before the next tile's come.
func (t *forwardTask) do(thread, unit int) {
	l := (*matmul)(t)
	f := &l.forth
	t0, t1, i0, i1 := f.split.part(unit)
	l.fillBias(f.tiles[t0].first, f.tiles[t1-1].first+f.tiles[t1-1].rows, i0, i1)
	w := l.weights()
	for s := range f.segments.count {
		first, end := f.segments.bounds(s)
		for _, tl := range f.tiles[t0:t1] {
			a, rowA := w[tl.first*l.row+first:], l.row
			if i1-i0 >= copyItems {
				a, rowA = l.p.scratch[thread], end-first
				for i := range tl.rows {
					copy(a[i*rowA:(i+1)*rowA], w[(tl.first+i)*l.row+first:])
				}
			}
			block, pixel := i0/l.pixels, i0%l.pixels
			for range i1 - i0 {
				st := &f.stops[pixel]
				if blocks := st.route[s]; len(blocks) > 0 {
					y := l.outputAt(block, pixel, tl.first)
					x := l.x[block*l.inSize+st.base+tl.group*l.cg*lanes:]
					kernel.Chain(y, lanes, tl.rows, a, rowA, 1, x, blocks)
				}
				if pixel++; pixel == l.pixels {
					block, pixel = block+1, 0
				}
			}
		}
	}
}

// outputAt returns the activations of the output from one channel of a pixel on.
func (l *matmul) outputAt(block, pixel, channel int) []float32 {
	return l.y[block*l.outSize+(pixel*l.out.C+channel)*lanes:]
}

// fillBias sets the channels [k0, k1) of the items [i0, i1) to their bias.
func (l *matmul) fillBias(k0, k1, i0, i1 int) {
	bias := l.bias.Of(l.p.values)
	for item := i0; item < i1; item++ {
		y := l.outputAt(item/l.pixels, item%l.pixels, k0)
		for i, b := range bias[k0:k1] {
			row := (*[lanes]float32)(y[i*lanes:])
			for j := range row {
				row[j] = b
			}
		}
	}
}

// backward computes dx: chains start from zero.
func (l *matmul) backward(dx, dy []float32) {
	if l.p.blocks == 0 {
		return
	}
	l.p.dx, l.p.dy = dx, dy
	threads := l.p.pool.threads
	if l.panels != nil {
		l.p.pool.run(len(l.back.tiles), (*panelTask)(l))
	}
	l.back.split = newSplit(len(l.back.tiles), l.p.blocks*l.inPixels, threads, l.panels == nil)
	l.p.pool.run(l.back.split.units(), (*backwardTask)(l))
}

// panelTask writes the panels of one tile.
type panelTask matmul

func (t *panelTask) do(_, unit int) {
	l := (*matmul)(t)
	seg := l.back.segments
	n := tileRows * seg.length
	l.panel(l.panels[unit*n:(unit+1)*n], seg.length, l.back.tiles[unit:unit+1], 0, seg.length)
}

// panel writes the places [first, end) of the backward axis, of some tiles, as
// [tile][place][channel of the tile]; the tiles' parts lie stride places apart.
func (l *matmul) panel(dst []float32, stride int, tiles []tile, first, end int) {
	w := l.weights()
	k, at := first%l.kg, first/l.kg*l.cg
	for q := first; q < end; q++ {
		for i, tl := range tiles {
			src := w[(tl.group*l.kg+k)*l.row+at+tl.first-tl.group*l.cg:]
			d := dst[(i*stride+q-first)*tileRows:]
			if tl.rows == tileRows {
				v := *(*[tileRows]float32)(src) // by way of v: not a call of memmove
				*(*[tileRows]float32)(d) = v
			} else {
				copy(d[:tl.rows], src)
			}
		}
		if k++; k == l.kg {
			k, at = 0, at+l.cg
		}
	}
}

type backwardTask matmul

// do computes one unit, a segment after the other.
func (t *backwardTask) do(thread, unit int) {
	l := (*matmul)(t)
	b := &l.back
	t0, t1, i0, i1 := b.split.part(unit)
	tiles := b.tiles[t0:t1]
	channels := (tiles[len(tiles)-1].first + tiles[len(tiles)-1].rows - tiles[0].first) * lanes
	for item := i0; item < i1; item++ {
		clear(l.dxAt(item/l.inPixels, item%l.inPixels, tiles[0].first)[:channels])
	}
	for s := range b.segments.count {
		first, end := b.segments.bounds(s)
		panels, stride := l.p.scratch[thread], end-first
		if l.panels != nil {
			panels, stride = l.panels[(t0*b.segments.length+first)*tileRows:], b.segments.length
		} else {
			l.panel(panels, stride, tiles, first, end)
		}
		for i, tl := range tiles {
			a := panels[i*stride*tileRows:]
			block, pixel := i0/l.inPixels, i0%l.inPixels
			for range i1 - i0 {
				st := &b.stops[pixel]
				if blocks := st.route[s]; len(blocks) > 0 {
					dy := l.p.dy[block*l.outSize+st.base+tl.group*l.kg*lanes:]
					kernel.Chain(l.dxAt(block, pixel, tl.first), lanes, tl.rows, a, 1, tileRows, dy, blocks)
				}
				if pixel++; pixel == l.inPixels {
					block, pixel = block+1, 0
				}
			}
		}
	}
}

// dxAt returns the gradients of the input from one channel of a pixel on.
func (l *matmul) dxAt(block, pixel, channel int) []float32 {
	return l.p.dx[block*l.inSize+(pixel*l.in.C+channel)*lanes:]
}
