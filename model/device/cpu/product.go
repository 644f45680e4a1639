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
	l.forth.split = newSplit(len(l.forth.tiles), mostTiles, l.p.blocks*l.pixels, l.p.pool.threads, false)
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
	tiles, items, threads := len(l.back.tiles), l.p.blocks*l.inPixels, l.p.pool.threads
	if l.panels != nil {
		l.p.pool.run(tiles, (*panelTask)(l))
		l.back.split = newSplit(tiles, mostTiles, items, threads, false)
	} else {
		l.back.split = newSplit(tiles, mostStripTiles, items, threads, true)
	}
	l.p.pool.run(l.back.split.units(), (*backwardTask)(l))
}

// panelTask writes the panel of one tile: its weights as [place][channel of the
// tile], where places are those of the backward axis.
type panelTask matmul

func (t *panelTask) do(_, unit int) {
	l := (*matmul)(t)
	tl, n := l.back.tiles[unit], l.back.segments.length
	w := l.weights()
	dst := l.panels[unit*n*tileRows : (unit+1)*n*tileRows]
	for q := range n {
		src := w[l.factor(tl, q):]
		for i := range tl.rows {
			dst[q*tileRows+i] = src[i]
		}
	}
}

// factor returns the place among the weights of a tile's first channel at
// place q of the backward axis; the tile's others follow it.
func (l *matmul) factor(tl tile, q int) int {
	return (tl.group*l.kg+q%l.kg)*l.row + q/l.kg*l.cg + tl.first - tl.group*l.cg
}

// stripPitch is the distance of the rows of a strip: the channels of
// mostStripTiles and a line more, so that rows don't all fall on the same few
// places of a cache.
const stripPitch = mostStripTiles*tileRows + 16

// strip copies the weights of some tiles at the places [first, end) of the
// backward axis, as [place][channel].
func (l *matmul) strip(dst []float32, tiles []tile, first, end int) {
	w := l.weights()
	for t := 0; t < len(tiles); {
		// Channels of a group follow each other among the weights.
		head, n := tiles[t], 0
		for ; t < len(tiles) && tiles[t].group == head.group; t++ {
			n += tiles[t].rows
		}
		to := dst[head.first-tiles[0].first:]
		for q := first; q < end; q++ {
			copy(to[(q-first)*stripPitch:][:n], w[l.factor(head, q):])
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
		if l.panels == nil {
			l.strip(l.p.scratch[thread], tiles, first, end)
		}
		for i, tl := range tiles {
			var a []float32
			step := tileRows
			if l.panels == nil {
				a, step = l.p.scratch[thread][tl.first-tiles[0].first:], stripPitch
			} else {
				a = l.panels[((t0+i)*b.segments.length+first)*tileRows:]
			}
			block, pixel := i0/l.inPixels, i0%l.inPixels
			for range i1 - i0 {
				st := &b.stops[pixel]
				if blocks := st.route[s]; len(blocks) > 0 {
					dy := l.p.dy[block*l.outSize+st.base+tl.group*l.kg*lanes:]
					kernel.Chain(l.dxAt(block, pixel, tl.first), lanes, tl.rows, a, 1, step, dy, blocks)
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
