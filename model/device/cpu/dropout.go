package cpu

import (
	"math"
	"math/bits"

	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/model/device"
)

// dropout zeroes values by device.Mask, whose values are numbered (channel,
// row, column). It writes over its input.
type dropout struct {
	ends
	channels, pixels int
	threshold        uint32
	layer            philox.Purpose
	trainScale       float32  // what is kept is multiplied by it in training
	testScale        float32  // everything is in testing
	keep             []uint16 // for each value of a lane block, one bit a lane
	dx, dy           []float32
}

// maskValues is how many values a unit of making masks takes: those of one
// block of random bits for each image.
const maskValues = 8

func newDropout(p *plan, op *device.Dropout) *dropout {
	l := &dropout{
		ends: newEnds(p, op.In, op.Out), channels: op.In.C, pixels: op.In.H * op.In.W,
		threshold: device.Threshold(op.P), layer: philox.Dropout + philox.Purpose(op.Layer),
		trainScale: 1, testScale: 1 - op.P,
	}
	if op.Inverted {
		l.trainScale, l.testScale = 1/(1-op.P), 1
	}
	if p.trains() {
		l.keep = make([]uint16, p.mostBlocks*op.In.Values())
	}
	return l
}

func (l *dropout) overwrites() bool { return true }

func (l *dropout) forward(train bool) {
	if train {
		l.p.pool.run(l.p.blocks*l.maskUnits(), (*dropoutMask)(l))
		l.p.pool.run(l.p.blocks*l.pixels, (*dropoutTrain)(l))
		return
	}
	if l.testScale != 1 {
		l.p.pool.run(l.chunks(l.inSize), (*dropoutTest)(l))
	}
}

// maskGroups is how many groups of maskValues a unit takes.
const maskGroups = 32

func (l *dropout) maskUnits() int {
	return (l.channels*l.pixels + maskValues*maskGroups - 1) / (maskValues * maskGroups)
}

type dropoutMask dropout

// do draws the bits of some values of all images of a lane block.
func (t *dropoutMask) do(_, unit int) {
	l := (*dropout)(t)
	b := l.p.batch
	n, units := l.channels*l.pixels, l.maskUnits()
	block, first := unit/units, unit%units*maskValues*maskGroups
	keep := l.keep[block*n : (block+1)*n]
	clear(keep[first:min(first+maskValues*maskGroups, n)])
	key := [2]uint32{uint32(b.Seed), uint32(b.Seed >> 32)}
	for lane, index := range b.Index[block*lanes : min((block+1)*lanes, l.p.images)] {
		for i := first; i < min(first+maskValues*maskGroups, n); i += maskValues {
			words := philox.Block(key, [4]uint32{uint32(i / maskValues), uint32(l.layer), uint32(b.Step), index})
			group := keep[i:min(i+maskValues, n)]
			for j := range group {
				number := words[j/2] >> (j % 2 * 16) & 0xffff
				_, less := bits.Sub32(number, l.threshold, 0)
				group[j] |= uint16(1-less) << lane
			}
		}
	}
}

// apply multiplies the values of one pixel that are kept by scale, zeroing the
// others; the mask's order has the pixels innermost, activations the channels.
func (l *dropout) apply(dst, src []float32, pixel int, keep []uint16) {
	for c := range l.channels {
		mask := int32(keep[c*l.pixels+pixel])
		d, s := (*[lanes]float32)(dst[c*lanes:]), (*[lanes]float32)(src[c*lanes:])
		for lane := range d {
			kept := uint32(mask << (31 - lane) >> 31)
			d[lane] = math.Float32frombits(math.Float32bits(s[lane]*l.trainScale) & kept)
		}
	}
}

type dropoutTrain dropout

func (t *dropoutTrain) do(_, unit int) {
	l := (*dropout)(t)
	l.one(l.y, l.x, unit)
}

// one applies the mask to one pixel of a lane block.
func (l *dropout) one(dst, src []float32, unit int) {
	block, pixel := unit/l.pixels, unit%l.pixels
	n := l.channels * l.pixels
	first, end := unit*l.channels*lanes, (unit+1)*l.channels*lanes
	l.apply(dst[first:end], src[first:end], pixel, l.keep[block*n:(block+1)*n])
}

type dropoutTest dropout

func (t *dropoutTest) do(_, unit int) {
	l := (*dropout)(t)
	first, end := l.chunk(unit, l.inSize)
	x, y := l.x[first:end], l.y[first:end]
	for i, v := range x {
		y[i] = v * l.testScale
	}
}

func (l *dropout) backward(dx, dy []float32) {
	l.dx, l.dy = dx, dy
	l.p.pool.run(l.p.blocks*l.pixels, (*dropoutBack)(l))
}

type dropoutBack dropout

func (t *dropoutBack) do(_, unit int) {
	l := (*dropout)(t)
	l.one(l.dx, l.dy, unit)
}
