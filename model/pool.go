package model

import (
	"fmt"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// Pool reduces each window of each channel to one value.
type Pool struct {
	Name     string
	Function device.PoolKind
	Window   Window
}

// Label returns the name.
func (p *Pool) Label() string { return p.Name }

// Kind returns pooling.
func (p *Pool) Kind() string { return "pooling" }

// Detail tells function and window: max 3/2, rounding up.
func (p *Pool) Detail() string {
	s := "max"
	if p.Function == device.AveragePool {
		s = "average"
	}
	s += fmt.Sprintf(" %d/%d", p.Window.Kernel, p.Window.Stride)
	if p.Window.Pad != 0 {
		s += fmt.Sprintf(", pad %d", p.Window.Pad)
	}
	switch p.Window.Rounding {
	case RoundUp:
		s += ", rounding up"
	case Same:
		s += ", SAME"
	}
	return s
}

// Output returns (C, OH, OW).
func (p *Pool) Output(in device.Shape) (device.Shape, error) { return slide(p.Window, in, in.C) }

// Parameters returns none.
func (p *Pool) Parameters(device.Shape) []Parameter { return nil }

// Op returns a *device.Pool.
func (p *Pool) Op(at device.Place, _ []params.Range) device.Op {
	_, top, _ := p.Window.fit(at.In.H)
	_, left, _ := p.Window.fit(at.In.W)
	return &device.Pool{
		Place:  at,
		Kind:   p.Function,
		Kernel: p.Window.Kernel, Stride: p.Window.Stride,
		PadTop: top, PadLeft: left,
	}
}

// FLOPs returns none.
func (p *Pool) FLOPs(_, _ device.Shape) FLOPs { return FLOPs{} }
