package model

import (
	"fmt"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// LRN is local response normalisation across channels. Frameworks differ in one
// thing: whether alpha is divided by the number of channels in the window.
type LRN struct {
	Name           string
	Size           int // channels in the window, the middle one included
	K, Alpha, Beta float64
	DivideBySize   bool // as PaddlePaddle and PyTorch do; TensorFlow and the 2012 paper don't
}

// Label returns the name.
func (l *LRN) Label() string { return l.Name }

// Kind returns LRN.
func (l *LRN) Kind() string { return "LRN" }

// Detail tells the four numbers, and the division where there is one.
func (l *LRN) Detail() string {
	alpha := fmt.Sprintf("%g", l.Alpha)
	if l.DivideBySize {
		alpha += fmt.Sprintf("/%d", l.Size)
	}
	return fmt.Sprintf("size %d, k %g, alpha %s, beta %g", l.Size, l.K, alpha, l.Beta)
}

// Output returns in.
func (l *LRN) Output(in device.Shape) (device.Shape, error) { return in, nil }

// Parameters returns none.
func (l *LRN) Parameters(device.Shape) []Parameter { return nil }

// Op returns a *device.LRN, whose Alpha is divided where it is to be.
func (l *LRN) Op(p device.Place, _ []params.Range) device.Op {
	alpha := l.Alpha
	if l.DivideBySize {
		alpha /= float64(l.Size)
	}
	return &device.LRN{Place: p, Size: l.Size, K: float32(l.K), Alpha: float32(alpha), Beta: float32(l.Beta)}
}

// FLOPs returns none.
func (l *LRN) FLOPs(_, _ device.Shape) FLOPs { return FLOPs{} }
