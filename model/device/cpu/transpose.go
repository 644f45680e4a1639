package cpu

import "github.com/muster-train/muster/internal/kernel"

// transposeTask makes the panels of one pixel of one lane block for the
// gradient of the weights.
type transposeTask matmul

func (t *transposeTask) do(thread, unit int) {
	l := (*matmul)(t)
	d := &l.dw
	x := l.x[unit*l.in.C*lanes : (unit+1)*l.in.C*lanes]
	per := d.panels * d.step * lanes
	for g := range l.groups {
		dst := d.x[(unit*l.groups+g)*per : (unit*l.groups+g+1)*per]
		if d.runs {
			columns := l.p.scratch[thread][:d.panels*lanes*lanes]
			kernel.Transpose(columns, lanes, lanes*lanes, x[g*l.cg*lanes:], d.source)
			l.inputRuns(columns, unit/l.inPixels, unit%l.inPixels, g)
			continue
		}
		if l.p.bf16() {
			columns := l.p.scratch[thread][:d.panels*lanes*lanes]
			kernel.Transpose(columns, lanes, lanes*lanes, x[g*l.cg*lanes:], d.source)
			kernel.PairRows(dst, columns)
			continue
		}
		kernel.Transpose(dst, lanes, lanes*lanes, x[g*l.cg*lanes:], d.source)
	}
}
