package cpu

import "github.com/muster-train/muster/model/device"

// averagePool takes the mean of each window's values inside the image.
type averagePool struct {
	ends
	window
	dx, dy []float32
}

func newAveragePool(p *plan, op *device.Pool) *averagePool {
	return &averagePool{ends: newEnds(p, op.In, op.Out), window: newWindow(op)}
}

func (l *averagePool) forward(bool) { l.p.pool.run(l.p.blocks*l.out.H, (*averageForward)(l)) }

type averageForward averagePool

// do computes one row of outputs of a lane block.
func (t *averageForward) do(_, unit int) {
	l := (*averagePool)(t)
	block, oy := unit/l.out.H, unit%l.out.H
	n := l.in.C * lanes
	x := l.x[block*l.inSize : (block+1)*l.inSize]
	for ox := range l.out.W {
		at := block*l.outSize + (oy*l.out.W+ox)*n
		y := l.y[at : at+n]
		clear(y)
		y0, y1, x0, x1 := l.clip(oy, ox)
		for iy := y0; iy < y1; iy++ {
			for ix := x0; ix < x1; ix++ {
				for i, v := range x[(iy*l.in.W+ix)*n:][:n] {
					y[i] += v
				}
			}
		}
		count := float32((y1 - y0) * (x1 - x0))
		for i := range y {
			y[i] /= count
		}
	}
}

func (l *averagePool) backward(dx, dy []float32) {
	l.dx, l.dy = dx, dy
	l.p.pool.run(l.p.blocks*l.channelUnits(), (*averageBack)(l))
}

type averageBack averagePool

// do computes the gradients of some channels of a lane block, adding outputs in
// row-major order.
func (t *averageBack) do(_, unit int) {
	l := (*averagePool)(t)
	block := unit / l.channelUnits()
	first, end := l.channelUnit(unit % l.channelUnits())
	n := l.in.C * lanes
	dx := l.dx[block*l.inSize : (block+1)*l.inSize]
	for pixel := range l.in.H * l.in.W {
		clear(dx[pixel*n+first : pixel*n+end])
	}
	for oy := range l.out.H {
		for ox := range l.out.W {
			at := block*l.outSize + (oy*l.out.W+ox)*n
			dy := l.dy[at+first : at+end]
			y0, y1, x0, x1 := l.clip(oy, ox)
			count := float32((y1 - y0) * (x1 - x0))
			for iy := y0; iy < y1; iy++ {
				for ix := x0; ix < x1; ix++ {
					d := dx[(iy*l.in.W+ix)*n+first:][:len(dy)]
					for i, v := range dy {
						d[i] += v / count
					}
				}
			}
		}
	}
}
