package cpu

import "github.com/muster-train/muster/model/device"

// window is the geometry of pooling.
type window struct {
	in, out         device.Shape
	kernel, stride  int
	padTop, padLeft int
}

func newWindow(op *device.Pool) window {
	return window{op.In, op.Out, op.Kernel, op.Stride, op.PadTop, op.PadLeft}
}

// clip returns the rows [y0, y1) and columns [x0, x1) of the window of an output.
func (w *window) clip(oy, ox int) (y0, y1, x0, x1 int) {
	y, x := oy*w.stride-w.padTop, ox*w.stride-w.padLeft
	return max(y, 0), min(y+w.kernel, w.in.H), max(x, 0), min(x+w.kernel, w.in.W)
}

// maxPool takes the largest value of each window.
type maxPool struct {
	ends
	window
	from   []int32 // pixel of the input that each output of the batch comes from; nil: never trained
	train  bool
	dx, dy []float32
}

func newMaxPool(p *plan, op *device.Pool) *maxPool {
	l := &maxPool{ends: newEnds(p, op.In, op.Out), window: newWindow(op)}
	if p.trains() {
		l.from = make([]int32, p.mostBlocks*l.outSize)
	}
	return l
}

func (l *maxPool) forward(train bool) {
	l.train = train
	l.p.pool.run(l.p.blocks*l.out.H, (*maxPoolForward)(l))
}

type maxPoolForward maxPool

// do computes one row of outputs of a lane block.
func (t *maxPoolForward) do(_, unit int) {
	l := (*maxPool)(t)
	block, oy := unit/l.out.H, unit%l.out.H
	n := l.in.C * lanes
	x := l.x[block*l.inSize : (block+1)*l.inSize]
	for ox := range l.out.W {
		at := block*l.outSize + (oy*l.out.W+ox)*n
		y := l.y[at : at+n]
		y0, y1, x0, x1 := l.clip(oy, ox)
		copy(y, x[(y0*l.in.W+x0)*n:])
		var from []int32
		if l.train {
			from = l.from[at : at+n]
			for i := range from {
				from[i] = int32(y0*l.in.W + x0)
			}
		}
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				pixel := iy*l.in.W + ix
				if l.train {
					largest(y, from, x[pixel*n:][:n], int32(pixel))
				} else {
					larger(y, x[pixel*n:][:n])
				}
			}
		}
	}
}

// largest replaces the values of y that are smaller than x's, and notes the
// pixel of x. A NaN stays, so that it is not lost. Nothing branches: which value
// is larger can't be foretold.
func largest(y []float32, from []int32, x []float32, pixel int32) {
	from, x = from[:len(y)], x[:len(y)]
	for i, old := range y {
		v, at := max(old, x[i]), from[i]
		if v != old {
			at = pixel
		}
		y[i], from[i] = v, at
	}
}

func larger(y, x []float32) {
	x = x[:len(y)]
	for i, old := range y {
		y[i] = max(old, x[i])
	}
}

// poolChannels is how many channels a unit of a pooling's backward takes.
const poolChannels = 16

func (w *window) channelUnits() int { return (w.in.C + poolChannels - 1) / poolChannels }

// channelUnit returns the values [first, end) of a pixel that a unit takes.
func (w *window) channelUnit(unit int) (first, end int) {
	return unit * poolChannels * lanes, min((unit+1)*poolChannels, w.in.C) * lanes
}

func (l *maxPool) backward(dx, dy []float32) {
	l.dx, l.dy = dx, dy
	l.p.pool.run(l.p.blocks*l.channelUnits(), (*maxPoolBack)(l))
}

type maxPoolBack maxPool

// do computes the gradients of some channels of a lane block, adding outputs in
// row-major order.
func (t *maxPoolBack) do(_, unit int) {
	l := (*maxPool)(t)
	block := unit / l.channelUnits()
	first, end := l.channelUnit(unit % l.channelUnits())
	n := l.in.C * lanes
	dx := l.dx[block*l.inSize : (block+1)*l.inSize]
	for pixel := range l.in.H * l.in.W {
		clear(dx[pixel*n+first : pixel*n+end])
	}
	for pixel := range l.out.H * l.out.W {
		at := block*l.outSize + pixel*n
		from, dy := l.from[at+first:at+end], l.dy[at+first:at+end]
		for i, v := range dy {
			dx[int(from[i])*n+first+i] += v
		}
	}
}
