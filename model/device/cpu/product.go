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

// pairs returns the number of pairs of lane blocks, of which the last may have
// one: a tile has a column for each.
func (p *plan) pairs() int { return (p.blocks + kernel.TileColumns - 1) / kernel.TileColumns }

// pair returns the first lane block of a pair, and how many it has.
func (p *plan) pair(i int) (block, count int) {
	block = i * kernel.TileColumns
	return block, min(kernel.TileColumns, p.blocks-block)
}

// forward computes out: chains start from the bias.
func (l *matmul) forward(bool) {
	if l.p.blocks == 0 {
		return
	}
	l.forth.split = newSplit(len(l.forth.tiles), mostTiles, l.p.pairs()*l.pixels, l.p.pool.threads, false)
	l.p.pool.run(l.forth.split.units(), (*forwardTask)(l))
}

type forwardTask matmul

// copyItems is for how many items a tile's weights are copied together first.
// Rows that lie a multiple of 4 KiB apart evict each other from the first
// cache: where they do, the product takes three times as long.
const copyItems = 2

// do computes one unit. A tile's weights of a segment meet all items of the
// unit before the next tile's come.
func (t *forwardTask) do(thread, unit int) {
	l := (*matmul)(t)
	f := &l.forth
	t0, t1, i0, i1 := f.split.part(unit)
	w, bias := l.weights(), l.bias.Of(l.p.values)
	shape := kernel.Tile{RowC: lanes, ColumnC: l.outSize, StepA: 1, StepB: lanes, ColumnB: l.inSize}
	for s := range f.segments.count {
		first, end := f.segments.bounds(s)
		for _, tl := range f.tiles[t0:t1] {
			shape.Rows = tl.rows
			a := w[tl.first*l.row+first:]
			shape.RowA = l.row
			if i1-i0 >= copyItems {
				a, shape.RowA = l.p.scratch[thread], end-first
				for i := range tl.rows {
					copy(a[i*shape.RowA:(i+1)*shape.RowA], w[(tl.first+i)*l.row+first:])
				}
			}
			pair, pixel := i0/l.pixels, i0%l.pixels
			for range i1 - i0 {
				var block int
				block, shape.Columns = l.p.pair(pair)
				st := &f.stops[pixel]
				blocks := st.route[s]
				y := l.outputAt(block, pixel, tl.first)
				x := l.x[block*l.inSize+st.base+tl.group*l.cg*lanes:]
				switch {
				case s == 0:
					kernel.ChainFrom(y, bias[tl.first:], a, x, &shape, blocks)
				case len(blocks) > 0:
					kernel.Chain(y, a, x, &shape, blocks)
				}
				if pixel++; pixel == l.pixels {
					pair, pixel = pair+1, 0
				}
			}
		}
	}
}

// outputAt returns the activations of the output from one channel of a pixel on.
func (l *matmul) outputAt(block, pixel, channel int) []float32 {
	return l.y[block*l.outSize+(pixel*l.out.C+channel)*lanes:]
}

// backward computes dx: chains start from zero.
func (l *matmul) backward(dx, dy []float32) {
	if l.p.blocks == 0 {
		return
	}
	l.p.dx, l.p.dy = dx, dy
	tiles, items, threads := len(l.back.tiles), l.p.pairs()*l.inPixels, l.p.pool.threads
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
	shape := kernel.Tile{RowC: lanes, ColumnC: l.inSize, RowA: 1, StepA: tileRows, StepB: lanes, ColumnB: l.outSize}
	for s := range b.segments.count {
		first, end := b.segments.bounds(s)
		if l.panels == nil {
			l.strip(l.p.scratch[thread], tiles, first, end)
			shape.StepA = stripPitch
		}
		for i, tl := range tiles {
			shape.Rows = tl.rows
			var a []float32
			if l.panels == nil {
				a = l.p.scratch[thread][tl.first-tiles[0].first:]
			} else {
				a = l.panels[((t0+i)*b.segments.length+first)*tileRows:]
			}
			pair, pixel := i0/l.inPixels, i0%l.inPixels
			for range i1 - i0 {
				var block int
				block, shape.Columns = l.p.pair(pair)
				st := &b.stops[pixel]
				blocks := st.route[s]
				dx := l.dxAt(block, pixel, tl.first)
				dy := l.p.dy[block*l.outSize+st.base+tl.group*l.kg*lanes:]
				switch {
				case s == 0:
					kernel.ChainZero(dx, a, dy, &shape, blocks)
				case len(blocks) > 0:
					kernel.Chain(dx, a, dy, &shape, blocks)
				}
				if pixel++; pixel == l.inPixels {
					pair, pixel = pair+1, 0
				}
			}
		}
	}
}

// dxAt returns the gradients of the input from one channel of a pixel on.
func (l *matmul) dxAt(block, pixel, channel int) []float32 {
	return l.p.dx[block*l.inSize+(pixel*l.in.C+channel)*lanes:]
}
