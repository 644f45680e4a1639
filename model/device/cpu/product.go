package cpu

import "github.com/muster-train/muster/internal/kernel"

const tileRows = kernel.TileRows

// product is the forward or the backward product of a layer: for each pixel
// and channel of the result one chain over the segments, in order.
type product struct {
	segments segments
	tiles    []tile
	stops    []stop // of the pixels of the result
	block    int    // values from one lane block of the activations to the next
	group    int    // and from one group of channels to the next
	ahead    ahead  // the weights of the next tile, or strip

	// of the batch at hand
	split split
	x     []float32 // the activations that the weights meet
}

// columns returns the number of pairs of lane blocks, of which the last may have
// one: a tile has a column for each.
func (p *plan) columns() int { return (p.blocks + kernel.TileColumns - 1) / kernel.TileColumns }

// columnsOf returns the first lane block of pair i, and how many it has.
func (p *plan) columnsOf(i int) (block, count int) {
	block = i * kernel.TileColumns
	return block, min(kernel.TileColumns, p.blocks-block)
}

// forward computes out: chains start from the bias.
func (l *matmul) forward(bool) {
	if l.p.blocks == 0 {
		return
	}
	l.forth.x = l.factors(l.x, l.inPixels, l.cg)
	l.forth.split = newSplit(len(l.forth.tiles), mostTiles, l.p.columns()*l.pixels, l.p.pool.threads, false)
	l.p.pool.run(l.forth.split.units(), (*forwardTask)(l))
}

type forwardTask matmul

// copyItems is for how many items a tile's weights are copied together first,
// where their rows lie a multiple of copyStride values apart: such rows evict
// each other from the first cache, and the product would take three times as long.
const (
	copyItems  = 2
	copyStride = 256
)

// do computes one unit. A tile's weights of a segment meet all items of the
// unit before the next tile's come.
func (t *forwardTask) do(thread, unit int) {
	l := (*matmul)(t)
	f := &l.forth
	t0, t1, i0, i1 := f.split.part(unit)
	w, row, bias := l.factorRows(), f.segments.length, l.bias.Of(l.p.values)
	shape := kernel.Tile{RowC: lanes, ColumnC: l.outSize, StepA: 1, StepB: lanes, ColumnB: f.block, Pairs: l.p.bf16()}
	for s := range f.segments.count {
		first, end := f.segments.bounds(s)
		for tile, tl := range f.tiles[t0:t1] {
			shape.Rows = tl.rows
			a := w[tl.first*row+first:]
			shape.RowA = row
			if i1-i0 >= copyItems && row%copyStride == 0 {
				a, shape.RowA = l.p.scratch[thread], end-first
				for i := range tl.rows {
					copy(a[i*shape.RowA:(i+1)*shape.RowA], w[(tl.first+i)*row+first:])
				}
			}
			pair, pixel := i0/l.pixels, i0%l.pixels
			next := f.nextRows(w, t0, t1, tile, s)
			for i := range i1 - i0 {
				f.ahead.fetch(&shape, next, i, i1-i0, end-first)
				var block int
				block, shape.Columns = l.p.columnsOf(pair)
				st := &f.stops[pixel]
				blocks := st.route[s]
				y := l.outputAt(block, pixel, tl.first)
				x := f.x[block*f.block+st.base+tl.group*f.group:]
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
	l.p.dx, l.back.x = dx, l.factors(dy, l.pixels, l.kg)
	tiles, items, threads := len(l.back.tiles), l.p.columns()*l.inPixels, l.p.pool.threads
	if l.panels != nil {
		l.p.pool.run(tiles, (*panelTask)(l))
		l.back.split = newSplit(tiles, mostTiles, items, threads, false)
	} else {
		l.back.split = newSplit(tiles, mostStripTiles, items, threads, true)
		l.back.ahead.narrow(min(l.cg, l.back.split.perTile*tileRows))
	}
	l.p.pool.run(l.back.split.units(), (*backwardTask)(l))
}

// panelTask writes the panel of one tile: its weights as [place][channel of the
// tile], where places are those of the backward axis.
type panelTask matmul

func (t *panelTask) do(thread, unit int) {
	l := (*matmul)(t)
	tl, n := l.back.tiles[unit], l.back.segments.length
	w := l.weights()
	dst := l.panels[unit*n*tileRows : (unit+1)*n*tileRows]
	if l.p.bf16() {
		for q := range n {
			l.pairUp(dst[q*tileRows:][:tl.rows], l.p.scratch[thread], tl, q)
		}
		return
	}
	for q := range n {
		src := w[l.factor(tl, q):]
		if len(src) >= tileRows {
			*(*[tileRows]float32)(dst[q*tileRows:]) = *(*[tileRows]float32)(src) // what is not the tile's is not read
			continue
		}
		copy(dst[q*tileRows:], src[:tl.rows])
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
			row := to[(q-first)*stripPitch:][:n]
			if l.p.bf16() {
				upper, lower := l.both(head, q)
				kernel.Pair(row, w[upper:upper+n], lowerOf(w, lower, n))
				continue
			}
			copy(row, w[l.factor(head, q):])
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
	shape := kernel.Tile{RowC: lanes, ColumnC: l.inSize, RowA: 1, StepA: tileRows, StepB: lanes, ColumnB: b.block, Pairs: l.p.bf16()}
	for s := range b.segments.count {
		first, end := b.segments.bounds(s)
		var next []float32
		if l.panels == nil {
			l.strip(l.p.scratch[thread], tiles, first, end)
			shape.StepA = stripPitch
			next = l.nextStrip(tiles, end)
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
			for item := range i1 - i0 {
				b.ahead.fetch(&shape, next, i*(i1-i0)+item, len(tiles)*(i1-i0), end-first)
				var block int
				block, shape.Columns = l.p.columnsOf(pair)
				st := &b.stops[pixel]
				blocks := st.route[s]
				dx := l.dxAt(block, pixel, tl.first)
				dy := b.x[block*b.block+st.base+tl.group*b.group:]
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
