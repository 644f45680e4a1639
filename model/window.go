package model

import "fmt"

// Rounding is how many windows of a convolution or pooling fit an image.
type Rounding int

// The roundings.
const (
	// RoundDown takes the windows that lie wholly within the padded image:
	// floor((in + 2*pad - k) / stride) + 1. Without padding this is TensorFlow's VALID.
	RoundDown Rounding = iota
	// RoundUp takes one more where a part of the image would be left over, as
	// PaddlePaddle's pooling does: (in - k + 2*pad + stride - 1) / stride + 1 in
	// integers that truncate toward zero, at least 1. Windows are clipped to the image.
	RoundUp
	// Same is TensorFlow's SAME: ceil(in / stride) windows, and as much padding
	// as these need, split evenly, the odd one after the image. Pad is not used.
	Same
)

// Window is a square window that slides over an image.
type Window struct {
	Kernel, Stride int
	Pad            int // on each side; not with Same
	Rounding       Rounding
}

// fit returns, for one axis of in values, the number of windows and the padding
// before the image. An error says that no window fits.
func (w Window) fit(in int) (out, before int, err error) {
	switch w.Rounding {
	case Same:
		out = (in + w.Stride - 1) / w.Stride
		return out, max((out-1)*w.Stride+w.Kernel-in, 0) / 2, nil
	case RoundUp:
		out = max((in-w.Kernel+2*w.Pad+w.Stride-1)/w.Stride+1, 1)
		if first := (out-1)*w.Stride - w.Pad; first >= in {
			return 0, 0, fmt.Errorf("its last window, %s, would begin at %d, outside an image of %d", w, first, in)
		}
		return out, w.Pad, nil
	default:
		if in+2*w.Pad < w.Kernel {
			return 0, 0, fmt.Errorf("a window of %s does not fit into %d", w, in)
		}
		return (in+2*w.Pad-w.Kernel)/w.Stride + 1, w.Pad, nil
	}
}

// taps returns, for one axis, over how many values of the image all windows
// stretch together: out*Kernel less what falls outside.
func (w Window) taps(in int) int64 {
	out, before, err := w.fit(in)
	if err != nil {
		return 0
	}
	n := int64(0)
	for o := range out {
		first := o*w.Stride - before
		n += int64(max(min(first+w.Kernel, in)-max(first, 0), 0))
	}
	return n
}

// meets tells, for one axis, which taps lie within the image for some window.
func (w Window) meets(in int) []bool {
	meets := make([]bool, w.Kernel)
	out, before, err := w.fit(in)
	if err != nil {
		return meets
	}
	for o := range out {
		first := o*w.Stride - before
		for t := max(-first, 0); t < min(w.Kernel, in-first); t++ {
			meets[t] = true
		}
	}
	return meets
}

// String writes the window for messages: 3x3, stride 2.
func (w Window) String() string {
	s := fmt.Sprintf("%dx%d", w.Kernel, w.Kernel)
	if w.Stride != 1 {
		s += fmt.Sprintf(", stride %d", w.Stride)
	}
	if w.Rounding == Same {
		return s + ", SAME"
	}
	if w.Pad != 0 {
		s += fmt.Sprintf(", pad %d", w.Pad)
	}
	return s
}
