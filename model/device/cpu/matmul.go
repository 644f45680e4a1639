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

	packed  []float32 // (out.C, row): the weights, taps outermost; nil: the vector's are so
	paired  []float32 // (out.C, taps x pairs of channels); nil: factors are no pairs
	dirty   bool      // they are older than the vector
	row     int       // values of a packed row: taps x input channels of a group
	forth   product   // out from in
	back    product   // dx from dy
	panels  []float32 // the weights as back reads them; nil: it makes strips of them as it goes
	hasBack bool
	dw      weightGradient
	dense   bool
	handed  handed // of the batch at hand
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
		weight: op.Weight, bias: op.Bias, spread: sp, dense: true,
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
	x, y := l.geometry, l.geometry // as the chains of forward and of back see them
	if l.p.bf16() {
		x, y = x.inPairs(), y.outPairs()
		l.p.arena.reserve(&l.paired, l.out.C*len(l.taps)*x.cg)
		l.p.needPairs(max(x.in.Values(), y.out.Values()) * lanes)
	}
	seg := newSegments(len(l.taps)*x.cg, segmentValues)
	l.forth = product{segments: seg, tiles: tilesOf(l.groups, l.kg), stops: x.forwardStops(seg), block: x.in.Values() * lanes, group: x.cg * lanes}
	l.forth.ahead = newAhead(l.weight.Len(), tileRows, seg.length, seg.step)
	l.p.needScratch(tileRows * seg.step)

	l.hasBack = l.p.trains() && !first
	if !l.hasBack {
		return
	}
	length := len(l.taps) * y.kg
	l.back = product{tiles: tilesOf(l.groups, l.cg), block: y.out.Values() * lanes, group: y.kg * lanes}
	all := len(l.back.tiles) * tileRows * length
	if l.inPixels*l.p.mostBlocks > mostItems && all <= prepackValues {
		l.p.arena.reserve(&l.panels, all)
		l.back.segments = newSegments(length, segmentValues)
		l.back.stops = y.backwardStops(l.back.segments, tileRows)
	} else {
		l.back.segments = newSegments(length, stripValues)
		l.back.stops = y.backwardStops(l.back.segments, stripPitch)
		rows := l.back.segments.step
		if l.p.bf16() {
			rows *= 2 // a place is a pair of rows
		}
		l.back.ahead = newAhead(l.weight.Len(), rows, l.row, min(l.cg, mostStripTiles*tileRows))
		l.p.needScratch(l.back.segments.step * stripPitch)
	}
}

func (l *matmul) ranges() (weight, bias params.Range) { return l.weight, l.bias }

func (l *matmul) loaded(r params.Range) {
	if r.First < l.weight.End && l.weight.First < r.End {
		l.dirty = true
	}
}

// factorRows returns what forward multiplies by: a row for each channel of the output.
func (l *matmul) factorRows() []float32 {
	if l.paired != nil {
		return l.paired
	}
	return l.weights()
}

// weights returns the weights, with taps outermost.
func (l *matmul) weights() []float32 {
	if l.packed == nil {
		return l.weight.Of(l.p.values)
	}
	return l.packed
}

// packRows is how many rows a unit of packing takes.
const packRows = 8

func (l *matmul) pack() {
	if l.dirty && (l.packed != nil || l.paired != nil) {
		l.p.pool.run((l.out.C+packRows-1)/packRows, (*packTask)(l))
	}
	l.dirty = false
}

// packTask makes packed and paired rows.
type packTask matmul

func (t *packTask) do(_, unit int) {
	l := (*matmul)(t)
	for k := unit * packRows; k < min((unit+1)*packRows, l.out.C); k++ {
		if l.packed != nil {
			l.packRow(k)
		}
		if l.paired != nil {
			l.pairRow(k)
		}
	}
}

// packRow copies a row of weights from the vector's order (channel, tap) to
// (tap, channel), without the taps that touch no image.
func (l *matmul) packRow(k int) {
	channels, kernelValues := l.spread.channels, l.spread.kernel
	dst := l.packed[k*l.row : (k+1)*l.row]
	src := l.weight.Of(l.p.values)[k*channels*kernelValues : (k+1)*channels*kernelValues]
	for i, use := range l.spread.use {
		d := dst[i*channels : (i+1)*channels]
		for c := range d {
			d[c] = src[c*kernelValues+use]
		}
	}
}
