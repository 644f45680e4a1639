package cpu

import "github.com/muster-train/muster/internal/kernel"

// view is the output pixels whose tap lies inside the image.
type view struct{ y0, y1, x0, x1 int }

func (w *view) pixels() int { return (w.y1 - w.y0) * (w.x1 - w.x0) }

// window returns what a piece's tap sees. Stripes hold what is outside as well.
func (d *weightGradient) window(l *matmul, u *piece) view {
	if d.striped {
		return view{0, l.out.H, 0, l.out.W}
	}
	var w view
	tp := l.taps[u.tap]
	w.y0, w.y1 = outputs(tp.r, l.stride, l.padTop, l.in.H, l.out.H)
	w.x0, w.x1 = outputs(tp.s, l.stride, l.padLeft, l.in.W, l.out.W)
	return w
}

// cursor is how far a chain has come: through the pixels of a view, and through
// the images at each. At the end, image is that of the span.
type cursor struct{ pixel, image int }

// factors returns the inputs as chains read them.
func (d *weightGradient) factors() []float32 {
	if d.paired != nil {
		return d.paired
	}
	return d.x
}

// block appends the next stretch of a shard's chains, the images of one lane
// block at one pixel, and moves the cursor on. Of pairs of images these are up to
// two blocks, the first of them an edge.
func (d *weightGradient) block(blocks []kernel.Block, l *matmul, u *piece, w *view, at *cursor, images span) []kernel.Block {
	width := w.x1 - w.x0
	oy, ox := w.y0+at.pixel/width, w.x0+at.pixel%width
	block, lane := at.image/lanes, at.image%lanes
	n := min(lanes-lane, images.end-at.image)
	at.image += n
	if at.image == images.end && at.pixel+1 < w.pixels() {
		at.pixel, at.image = at.pixel+1, images.first
	}
	k := kernel.Block{A: (block*l.pixels + oy*l.out.W + ox) * l.out.C * d.step, K: n}
	row := lanes // of the factors of an image, or a pair
	if d.striped {
		s := &d.stripes
		row = s.lane
		k.B = ((block*l.groups+u.group)*s.rows+oy*l.stride)*d.step*row + ox*l.stride*l.cg
	} else {
		tp := l.taps[u.tap]
		pixel := (oy*l.stride+tp.r-l.padTop)*l.in.W + ox*l.stride + tp.s - l.padLeft
		k.B = ((block*l.inPixels+pixel)*l.groups + u.group) * d.panels * d.step * lanes
	}
	if !l.p.bf16() {
		k.A, k.B = k.A+lane, k.B+lane*row
		return append(blocks, k)
	}
	pair := lane / 2
	if lane%2 == 1 {
		blocks = append(blocks, kernel.Block{A: k.A + pair + l.edge(), B: k.B + pair*row, K: 1})
		pair, n = pair+1, n-1
	}
	if n > 0 {
		blocks = append(blocks, kernel.Block{A: k.A + pair, B: k.B + pair*row, K: half(n)})
	}
	return blocks
}
