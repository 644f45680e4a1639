package cpu

import (
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// matmul is a convolution or a fully connected layer.
type matmul struct {
	ends
	geometry
	weight, bias params.Range
	spread       spread

	packed  []float32 // (out.C, row): the weights as forward reads them
	dirty   bool      // packed is older than the vector; unused where they are the same
	row     int       // values of a packed row: taps x input channels of a group
	forth   product   // out from in
	back    product   // dx from dy
	panels  []float32 // the weights as back reads them; nil: it makes strips of them as it goes
	hasBack bool
	dw      weightGradient
}

// spread says how the weights of one output channel lie in the vector:
// (channels, kernel), of which packed rows take the taps of use, taps outermost.
type spread struct {
	channels, kernel int
	use              []int
}

// same tells whether packed rows are those of the vector.
func (s *spread) same() bool { return s.kernel == 1 || s.channels == 1 && len(s.use) == s.kernel }

// prepackValues is the most weights of which back keeps a second copy.
const prepackValues = 1 << 23

func newConv(p *plan, op *device.Conv, first bool) *matmul {
	g := newGeometry(op.In, op.Out, op.Kernel, op.Stride, op.PadTop, op.PadLeft, op.Groups)
	sp := spread{channels: g.cg, kernel: op.Kernel * op.Kernel}
	for _, t := range g.taps {
		sp.use = append(sp.use, t.r*op.Kernel+t.s)
	}
	l := &matmul{ends: newEnds(p, op.In, op.Out), geometry: g, weight: op.Weight, bias: op.Bias, spread: sp}
	l.prepare(first)
	if p.trains() {
		l.dw.prepareConv(l)
	}
	return l
}

func newDense(p *plan, op *device.Dense, first bool) *matmul {
	in := device.Shape{C: op.In.Values(), H: 1, W: 1}
	sp := spread{channels: op.In.C, kernel: op.In.H * op.In.W}
	for t := range sp.kernel {
		sp.use = append(sp.use, t)
	}
	l := &matmul{
		ends: newEnds(p, op.In, op.Out), geometry: newGeometry(in, op.Out, 1, 1, 0, 0, 1),
		weight: op.Weight, bias: op.Bias, spread: sp,
	}
	l.prepare(first)
	if p.trains() {
		l.dw.prepareDense(l)
	}
	return l
}

// prepare lays out the products and reserves their memory.
func (l *matmul) prepare(first bool) {
	l.row = len(l.taps) * l.cg
	l.dirty = true
	if !l.spread.same() {
		l.p.arena.reserve(&l.packed, l.out.C*l.row)
	}
	seg := newSegments(l.row, segmentValues)
	l.forth = product{segments: seg, tiles: tilesOf(l.groups, l.kg), stops: l.forwardStops(seg)}
	l.p.needScratch(tileRows * seg.step)

	l.hasBack = l.p.trains() && !first
	if !l.hasBack {
		return
	}
	length := len(l.taps) * l.kg
	l.back = product{tiles: tilesOf(l.groups, l.cg)}
	all := len(l.back.tiles) * tileRows * length
	if l.inPixels*l.p.mostBlocks > mostItems && all <= prepackValues {
		l.p.arena.reserve(&l.panels, all)
		l.back.segments = newSegments(length, segmentValues)
		l.back.stops = l.backwardStops(l.back.segments, tileRows)
	} else {
		l.back.segments = newSegments(length, stripValues)
		l.back.stops = l.backwardStops(l.back.segments, stripPitch)
		l.p.needScratch(l.back.segments.step * stripPitch)
	}
}

func (l *matmul) ranges() (weight, bias params.Range) { return l.weight, l.bias }

func (l *matmul) loaded(r params.Range) {
	if r.First < l.weight.End && l.weight.First < r.End {
		l.dirty = true
	}
}

// weights returns the rows that the products read.
func (l *matmul) weights() []float32 {
	if l.packed == nil {
		return l.weight.Of(l.p.values)
	}
	return l.packed
}

// packRows is how many rows a unit of packing takes.
const packRows = 8

func (l *matmul) pack() {
	if l.dirty && l.packed != nil {
		l.p.pool.run((l.out.C+packRows-1)/packRows, (*packTask)(l))
	}
	l.dirty = false
}

// packTask copies rows of weights from the vector's order (channel, tap) to
// (tap, channel), without the taps that touch no image.
type packTask matmul

func (t *packTask) do(_, unit int) {
	l := (*matmul)(t)
	all := l.weight.Of(l.p.values)
	channels, kernelValues := l.spread.channels, l.spread.kernel
	for k := unit * packRows; k < min((unit+1)*packRows, l.out.C); k++ {
		dst := l.packed[k*l.row : (k+1)*l.row]
		src := all[k*channels*kernelValues : (k+1)*channels*kernelValues]
		for i, use := range l.spread.use {
			d := dst[i*channels : (i+1)*channels]
			for c := range d {
				d[c] = src[c*kernelValues+use]
			}
		}
	}
}
