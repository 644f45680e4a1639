package devicetest

import (
	"math"

	"github.com/muster-train/muster/model/device"
)

// The operations below compute y from x where dy is nil; else they add to dx,
// and to the gradient of the vector.

func (r *reference) conv(op *device.Conv, y, x, dx, dy, gradient []float64) {
	cg, kg := op.In.C/op.Groups, op.Out.C/op.Groups
	for k := range op.Out.C {
		for oy := range op.Out.H {
			for ox := range op.Out.W {
				o := at(op.Out, k, oy, ox)
				if dy == nil {
					y[o] = r.values[op.Bias.First+k]
				} else {
					gradient[op.Bias.First+k] += dy[o]
				}
				for c := range cg {
					for tap := range op.Kernel * op.Kernel {
						iy := oy*op.Stride + tap/op.Kernel - op.PadTop
						ix := ox*op.Stride + tap%op.Kernel - op.PadLeft
						if iy < 0 || iy >= op.In.H || ix < 0 || ix >= op.In.W {
							continue
						}
						i := at(op.In, k/kg*cg+c, iy, ix)
						w := op.Weight.First + (k*cg+c)*op.Kernel*op.Kernel + tap
						if dy == nil {
							y[o] += r.values[w] * x[i]
						} else {
							gradient[w] += dy[o] * x[i]
							dx[i] += dy[o] * r.values[w]
						}
					}
				}
			}
		}
	}
}

func (r *reference) dense(op *device.Dense, y, x, dx, dy, gradient []float64) {
	n := op.In.Values()
	for k := range op.Out.C {
		if dy == nil {
			y[k] = r.values[op.Bias.First+k]
		} else {
			gradient[op.Bias.First+k] += dy[k]
		}
		for i := range n {
			w := op.Weight.First + k*n + i
			if dy == nil {
				y[k] += r.values[w] * x[i]
			} else {
				gradient[w] += dy[k] * x[i]
				dx[i] += dy[k] * r.values[w]
			}
		}
	}
}

// windows calls f for each output of a pooling with the inputs of its window,
// in row-major order.
func windows(op *device.Pool, f func(o int, inputs []int)) {
	for c := range op.Out.C {
		for oy := range op.Out.H {
			for ox := range op.Out.W {
				var inputs []int
				for tap := range op.Kernel * op.Kernel {
					iy := oy*op.Stride + tap/op.Kernel - op.PadTop
					ix := ox*op.Stride + tap%op.Kernel - op.PadLeft
					if iy >= 0 && iy < op.In.H && ix >= 0 && ix < op.In.W {
						inputs = append(inputs, at(op.In, c, iy, ix))
					}
				}
				f(at(op.Out, c, oy, ox), inputs)
			}
		}
	}
}

func maxPool(op *device.Pool, y, x, dx, dy []float64) {
	windows(op, func(o int, inputs []int) {
		best := inputs[0]
		for _, i := range inputs {
			if x[i] > x[best] {
				best = i
			}
		}
		if dy == nil {
			y[o] = x[best]
		} else {
			dx[best] += dy[o]
		}
	})
}

func averagePool(op *device.Pool, y, x, dx, dy []float64) {
	windows(op, func(o int, inputs []int) {
		for _, i := range inputs {
			if dy == nil {
				y[o] += x[i] / float64(len(inputs))
			} else {
				dx[i] += dy[o] / float64(len(inputs))
			}
		}
	})
}

func lrn(op *device.LRN, y, x, dx, dy []float64) {
	k, alpha, beta := float64(op.K), float64(op.Alpha), float64(op.Beta)
	for pixel := range op.In.H * op.In.W {
		for c := range op.In.C {
			i := c*op.In.H*op.In.W + pixel
			first, last := max(0, c-(op.Size-1)/2), min(op.In.C-1, c+op.Size/2)
			d := k
			for j := first; j <= last; j++ {
				v := x[j*op.In.H*op.In.W+pixel]
				d += alpha * v * v
			}
			if dy == nil {
				y[i] = x[i] * math.Pow(d, -beta)
				continue
			}
			dx[i] += dy[i] * math.Pow(d, -beta)
			for j := first; j <= last; j++ {
				at := j*op.In.H*op.In.W + pixel
				dx[at] -= dy[i] * x[i] * beta * math.Pow(d, -beta-1) * 2 * alpha * x[at]
			}
		}
	}
}

func (r *reference) dropout(op *device.Dropout, y, x, dx, dy []float64) {
	keep := make([]bool, 0, len(x))
	scale := 1.0
	switch {
	case r.train:
		keep = device.Mask(keep, len(x), op.P, r.seed, op.Layer, r.step, r.index)
		if op.Inverted {
			scale = 1 / (1 - float64(op.P))
		}
	case !op.Inverted:
		scale = 1 - float64(op.P)
	}
	for i := range x {
		factor := scale
		if r.train && !keep[i] {
			factor = 0
		}
		if dy == nil {
			y[i] = factor * x[i]
		} else {
			dx[i] += factor * dy[i]
		}
	}
}

func activation(op *device.Activation, y, x, dx, dy []float64) {
	for i, v := range x {
		var value, slope float64
		switch {
		case op.Kind == device.Softplus:
			value, slope = math.Log1p(math.Exp(v)), 1/(1+math.Exp(-v))
		case v > 0:
			value, slope = v, 1
		case op.Kind == device.LeakyReLU:
			value, slope = v*float64(op.Slope), float64(op.Slope)
		}
		if dy == nil {
			y[i] = value
		} else {
			dx[i] += dy[i] * slope
		}
	}
}
