package kernel

// chainPortable is Chain and its kin in plain Go.
//
// It advances the chains of four lanes at a time, which are independent, and
// keeps them as float64s that hold float32 values.
func chainPortable(c, a, b []float32, t *Tile, blocks []Block, start begin, from []float32) {
	if t.Pairs {
		chainPairsPortable(c, a, b, t, blocks, start, from)
		return
	}
	for i := range t.Rows {
		for w := range t.Columns {
			for j := 0; j < Lanes; j += 4 {
				to := c[i*t.RowC+w*t.ColumnC+j:][:4:4]
				switch start {
				case fromZero:
					clear(to)
				case fromRow:
					to[0], to[1], to[2], to[3] = from[i], from[i], from[i], from[i]
				}
				chain4(to, a, i*t.RowA, t.StepA, b, w*t.ColumnB+j, t.StepB, blocks)
			}
		}
	}
}

// chain4 is four lanes of one row of chainPortable: c (4). The row begins at
// row in a, the lanes at lane in each row of b.
func chain4(c, a []float32, row, stepA int, b []float32, lane, stepB int, blocks []Block) {
	c0, c1, c2, c3 := float64(c[0]), float64(c[1]), float64(c[2]), float64(c[3])
	for i := range blocks {
		block := &blocks[i]
		ai, bi := row+block.A, lane+block.B
		for range block.K {
			x := float64(a[ai])
			y := b[bi:][:4:4]
			ai += stepA
			bi += stepB
			p0, p1, p2, p3 := x*float64(y[0]), x*float64(y[1]), x*float64(y[2]), x*float64(y[3])
			s0, s1, s2, s3 := p0+c0, p1+c1, p2+c2, p3+c3
			if rounding(s0) {
				s0 = toOdd(p0, c0, s0)
			}
			if rounding(s1) {
				s1 = toOdd(p1, c1, s1)
			}
			if rounding(s2) {
				s2 = toOdd(p2, c2, s2)
			}
			if rounding(s3) {
				s3 = toOdd(p3, c3, s3)
			}
			c0, c1, c2, c3 = float64(float32(s0)), float64(float32(s1)), float64(float32(s2)), float64(float32(s3))
		}
	}
	c[0], c[1], c[2], c[3] = float32(c0), float32(c1), float32(c2), float32(c3)
}

// chainTreeSteps is ChainTree by the other kernels, one chain after the other.
func chainTreeSteps(c, a, b []float32, t *Tile, blocks []Block, stack []float32) {
	top, first := 0, 0
	for i := range blocks {
		then := blocks[i].Then
		if then == 0 {
			continue
		}
		chain(c, a, b, t, blocks[first:i+1], fromZero, nil)
		first = i + 1
		if t.Round {
			t.round(c)
		}
		for ; then > 1; then-- {
			top -= t.Values()
			t.each(c, stack[top:], func(c, sum []float32) { t.add(c, sum, c) })
		}
		if i < len(blocks)-1 {
			t.each(c, stack[top:], func(c, sum []float32) { copy(sum, c) })
			top += t.Values()
		}
	}
}

// add adds two sums of a tree.
func (t *Tile) add(dst, x, y []float32) {
	if t.Round {
		addRound(dst, x, y)
		return
	}
	add(dst, x, y)
}

// round rounds the values of a tile.
func (t *Tile) round(c []float32) {
	for i := range t.Rows {
		for w := range t.Columns {
			x := c[i*t.RowC+w*t.ColumnC:][:Lanes]
			round(x, x)
		}
	}
}

// each calls f with each column of each row of a tile: its values in c, and in
// sums, where columns follow each other.
func (t *Tile) each(c, sums []float32, f func(c, sum []float32)) {
	for i := range t.Rows {
		for w := range t.Columns {
			f(c[i*t.RowC+w*t.ColumnC:][:Lanes], sums[(i*t.Columns+w)*Lanes:][:Lanes])
		}
	}
}
