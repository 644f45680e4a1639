package cpu

import (
	"github.com/muster-train/muster/internal/kernel"
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
	kernel.DrawMasks(keep[first:min(first+maskValues*maskGroups, n)],
		[2]uint32{uint32(b.Seed), uint32(b.Seed >> 32)},
		[3]uint32{uint32(first / maskValues), uint32(l.layer), uint32(b.Step)},
		b.Index[block*lanes:min((block+1)*lanes, l.p.images)], l.threshold)
}

type dropoutTrain dropout

func (t *dropoutTrain) do(_, unit int) {
	l := (*dropout)(t)
	l.one(l.y, l.x, unit)
}

// one applies the mask to one pixel of a lane block; the mask's order has the
// pixels innermost, activations the channels.
func (l *dropout) one(dst, src []float32, unit int) {
	block, pixel := unit/l.pixels, unit%l.pixels
	n := l.channels * l.pixels
	first, end := unit*l.channels*lanes, (unit+1)*l.channels*lanes
	kernel.ApplyMasks(dst[first:end], src[first:end], l.keep[block*n+pixel:(block+1)*n], l.pixels, l.trainScale)
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
