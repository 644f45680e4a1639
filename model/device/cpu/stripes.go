package cpu

import "github.com/muster-train/muster/internal/kernel"

// stripes lay the input of a convolution out for the gradient of its weights
// where a group has few channels:
//
//	[lane block][group][row, padded][lane][column, padded, and channel]
//
// so that what one row of the kernel meets in one image, its columns and their
// channels, follows each other in memory: as the columns of a product they need
// neither copying nor, of a large kernel, a place for each tap. What lies
// outside the image is zeros, written once.
type stripes struct {
	rows int // of an image, with padding
	lane int // values from one image to the next
	row  int // from one row to the next
	size int // of a group of a lane block

	columns []int // place of each of a row's columns and channels among the activations
}

func newStripes(g *geometry) stripes {
	var s stripes
	s.rows = (g.out.H-1)*g.stride + g.rows
	// The last columns of a kernel's row are read as a whole vector: with what
	// follows them, the next image's, for sums that have no place in the gradient.
	width := ((g.out.W-1)*g.stride + g.columns) * g.cg
	s.lane = (width + lanes - 1) / lanes * lanes
	if s.lane/lanes%2 == 0 {
		s.lane += lanes // an odd number of lines, so that images meet in all sets of a cache
	}
	s.row = lanes * s.lane
	s.size = s.rows * s.row
	// Columns of the image that no output sees don't fit.
	for column := range min(g.in.W, (g.out.W-1)*g.stride+g.columns-g.padLeft) {
		for c := range g.cg {
			s.columns = append(s.columns, (column*g.in.C+c)*lanes)
		}
	}
	return s
}

// stripeTask copies one row of the images of a lane block.
type stripeTask matmul

func (t *stripeTask) do(_, unit int) {
	l := (*matmul)(t)
	s := &l.dw.stripes
	block, y := unit/l.in.H, unit%l.in.H
	if y+l.padTop >= s.rows {
		return // no output sees it
	}
	x := l.x[block*l.inSize+y*l.in.W*l.in.C*lanes:]
	for g := range l.groups {
		dst := l.dw.x[(block*l.groups+g)*s.size+(y+l.padTop)*s.row+l.padLeft*l.cg:]
		kernel.Transpose(dst, s.lane, lanes, x[g*l.cg*lanes:], s.columns)
		if l.dw.paired != nil {
			l.pairStripes((block*l.groups+g)*s.size + (y+l.padTop)*s.row)
		}
	}
}
