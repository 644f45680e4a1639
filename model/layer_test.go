package model

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

func TestLayersTellWhatTheyAre(t *testing.T) {
	for _, tc := range []struct {
		layer        Layer
		kind, detail string
	}{
		{&Conv{Name: "a", Maps: 96, Window: Window{Kernel: 11, Stride: 4, Pad: 1}}, "convolution", "96 of 11x11, stride 4, pad 1"},
		{&Conv{Name: "a", Maps: 256, Window: Window{Kernel: 5, Stride: 1, Pad: 2}, Groups: 2}, "convolution", "256 of 5x5, pad 2, groups 2"},
		{&Conv{Name: "a", Maps: 64, Window: Window{Kernel: 11, Stride: 4, Rounding: Same}}, "convolution", "64 of 11x11, stride 4, SAME"},
		{&Pool{Name: "a", Window: Window{Kernel: 3, Stride: 2, Rounding: RoundUp}}, "pooling", "max 3/2, rounding up"},
		{&Pool{Name: "a", Window: Window{Kernel: 3, Stride: 2}}, "pooling", "max 3/2"},
		{&Pool{Name: "a", Window: Window{Kernel: 3, Stride: 2, Pad: 1}}, "pooling", "max 3/2, pad 1"},
		{&Pool{Name: "a", Function: device.AveragePool, Window: Window{Kernel: 2, Stride: 2, Rounding: Same}}, "pooling", "average 2/2, SAME"},
		{&LRN{Name: "a", Size: 5, K: 1, Alpha: 1e-4, Beta: 0.75, DivideBySize: true}, "LRN", "size 5, k 1, alpha 0.0001/5, beta 0.75"},
		{&LRN{Name: "a", Size: 5, K: 2, Alpha: 1e-4, Beta: 0.75}, "LRN", "size 5, k 2, alpha 0.0001, beta 0.75"},
		{&Dense{Name: "a", Outputs: 4096}, "fully connected", "4096"},
		{&Dropout{Name: "a", P: 0.5}, "dropout", "0.5, form of 2012"},
		{&Dropout{Name: "a", P: 0.25, Inverted: true}, "dropout", "0.25, inverted"},
		{&Activation{Name: "a"}, "activation", "relu"},
		{&Activation{Name: "a", Function: device.LeakyReLU}, "activation", "leaky-relu, slope 0.1"},
		{&Activation{Name: "a", Function: device.Softplus}, "activation", "softplus"},
	} {
		if got := tc.layer.Label(); got != "a" {
			t.Errorf("%T: label %q, want a", tc.layer, got)
		}
		if kind, detail := tc.layer.Kind(), tc.layer.Detail(); kind != tc.kind || detail != tc.detail {
			t.Errorf("%+v is told as %q, %q; want %q, %q", tc.layer, kind, detail, tc.kind, tc.detail)
		}
	}
}

func TestLayersShapeTheirOutput(t *testing.T) {
	in := device.Shape{C: 8, H: 9, W: 12}
	for _, tc := range []struct {
		layer Layer
		want  device.Shape
		op    device.Op // with ranges 0..7 and 7..9 in place of the tensors
	}{
		{
			&Conv{Name: "a", Maps: 6, Window: Window{Kernel: 4, Stride: 2, Rounding: Same}, Groups: 2},
			device.Shape{C: 6, H: 5, W: 6},
			&device.Conv{Kernel: 4, Stride: 2, PadTop: 1, PadLeft: 1, Groups: 2, Weight: params.Range{First: 0, End: 7}, Bias: params.Range{First: 7, End: 9}},
		},
		{
			&Conv{Name: "a", Maps: 6, Window: Window{Kernel: 3, Stride: 1, Pad: 2}},
			device.Shape{C: 6, H: 11, W: 14},
			&device.Conv{Kernel: 3, Stride: 1, PadTop: 2, PadLeft: 2, Groups: 1, Weight: params.Range{First: 0, End: 7}, Bias: params.Range{First: 7, End: 9}},
		},
		{
			// Height and width are padded each by itself.
			&Pool{Name: "a", Function: device.AveragePool, Window: Window{Kernel: 4, Stride: 3, Rounding: Same}},
			device.Shape{C: 8, H: 3, W: 4},
			&device.Pool{Kind: device.AveragePool, Kernel: 4, Stride: 3, PadTop: 0, PadLeft: 0},
		},
		{
			&Pool{Name: "a", Window: Window{Kernel: 3, Stride: 3, Pad: 1, Rounding: RoundUp}},
			device.Shape{C: 8, H: 4, W: 5},
			&device.Pool{Kernel: 3, Stride: 3, PadTop: 1, PadLeft: 1},
		},
		{
			&LRN{Name: "a", Size: 5, K: 1, Alpha: 1e-4, Beta: 0.75, DivideBySize: true}, in,
			&device.LRN{Size: 5, K: 1, Alpha: 2e-5, Beta: 0.75},
		},
		{
			&LRN{Name: "a", Size: 5, K: 2, Alpha: 1e-4, Beta: 0.75}, in,
			&device.LRN{Size: 5, K: 2, Alpha: 1e-4, Beta: 0.75},
		},
		{
			&Dense{Name: "a", Outputs: 7},
			device.Shape{C: 7, H: 1, W: 1},
			&device.Dense{Weight: params.Range{First: 0, End: 7}, Bias: params.Range{First: 7, End: 9}},
		},
		{&Dropout{Name: "a", P: 0.5, Inverted: true, Number: 3}, in, &device.Dropout{P: 0.5, Inverted: true, Layer: 3}},
		{&Activation{Name: "a"}, in, &device.Activation{}},
		{&Activation{Name: "a", Function: device.LeakyReLU}, in, &device.Activation{Kind: device.LeakyReLU, Slope: 0.1}},
		{&Activation{Name: "a", Function: device.Softplus}, in, &device.Activation{Kind: device.Softplus}},
	} {
		out, err := tc.layer.Output(in)
		if err != nil || out != tc.want {
			t.Errorf("%T %s: output %v, %v; want %v", tc.layer, tc.layer.Detail(), out, err, tc.want)
			continue
		}
		got := tc.layer.Op(device.Place{Name: "a", In: in, Out: out}, []params.Range{{First: 0, End: 7}, {First: 7, End: 9}})
		if a, b := got.Label(), tc.op.Label(); a != "a" || b != "" {
			t.Errorf("%T: label %q", got, a)
		}
		if place(got).In != in || place(got).Out != out {
			t.Errorf("%T stands between %v", got, place(got))
		}
		*place(got) = device.Place{}
		if !reflect.DeepEqual(got, tc.op) {
			t.Errorf("%T %s: op %+v, want %+v", tc.layer, tc.layer.Detail(), got, tc.op)
		}
	}
}

// place returns where an operation keeps its place.
func place(op device.Op) *device.Place {
	switch op := op.(type) {
	case *device.Conv:
		return &op.Place
	case *device.Dense:
		return &op.Place
	case *device.Pool:
		return &op.Place
	case *device.LRN:
		return &op.Place
	case *device.Dropout:
		return &op.Place
	case *device.Activation:
		return &op.Place
	}
	panic("another operation")
}

func TestLayersNameTheirTensors(t *testing.T) {
	in := device.Shape{C: 8, H: 4, W: 3}
	for _, tc := range []struct {
		layer Layer
		names []string
		shape [][]int
	}{
		{&Conv{Name: "conv2", Maps: 6, Window: Window{Kernel: 5, Stride: 1}, Groups: 2}, []string{"conv2.weight", "conv2.bias"}, [][]int{{6, 4, 5, 5}, {6}}},
		{&Dense{Name: "fc6", Outputs: 7}, []string{"fc6.weight", "fc6.bias"}, [][]int{{7, 96}, {7}}},
		{&Pool{}, nil, nil},
		{&LRN{}, nil, nil},
		{&Dropout{}, nil, nil},
		{&Activation{}, nil, nil},
	} {
		got := tc.layer.Parameters(in)
		if len(got) != len(tc.names) {
			t.Errorf("%T has %d tensors, want %d", tc.layer, len(got), len(tc.names))
			continue
		}
		for i, p := range got {
			if p.Tensor.Name != tc.names[i] || !slices.Equal(p.Tensor.Shape, tc.shape[i]) {
				t.Errorf("%T: tensor %d is %s %v, want %s %v", tc.layer, i, p.Tensor.Name, p.Tensor.Shape, tc.names[i], tc.shape[i])
			}
		}
	}
}

func TestLayersRefuseWhatTheyCannotDo(t *testing.T) {
	for _, tc := range []struct {
		layer Layer
		in    device.Shape
		want  string
	}{
		{&Conv{Maps: 6, Window: Window{Kernel: 1, Stride: 1}, Groups: 2}, device.Shape{C: 3, H: 5, W: 5}, "2 groups must divide both its 3 input and its 6 output channels"},
		{&Conv{Maps: 5, Window: Window{Kernel: 1, Stride: 1}, Groups: 2}, device.Shape{C: 4, H: 5, W: 5}, "2 groups must divide both its 4 input and its 5 output channels"},
		{&Conv{Maps: 5, Window: Window{Kernel: 6, Stride: 1}}, device.Shape{C: 4, H: 5, W: 6}, "6x6 does not fit into 5"},
		{&Conv{Maps: 5, Window: Window{Kernel: 6, Stride: 1}}, device.Shape{C: 4, H: 6, W: 4}, "6x6 does not fit into 4"},
		{&Pool{Window: Window{Kernel: 3, Stride: 2}}, device.Shape{C: 4, H: 2, W: 2}, "3x3, stride 2 does not fit into 2"},
		{&Pool{Window: Window{Kernel: 2, Stride: 2, Pad: 1, Rounding: RoundUp}}, device.Shape{C: 4, H: 3, W: 3}, "outside an image of 3"},
	} {
		if out, err := tc.layer.Output(tc.in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%T %s on %v: %v, %v; want an error with %q", tc.layer, tc.layer.Detail(), tc.in, out, err, tc.want)
		}
	}
}

// TestCostCountsEveryTap counts by the definition: for each output, each tap
// that exists, and each that lies within the image.
func TestCostCountsEveryTap(t *testing.T) {
	in := device.Shape{C: 4, H: 7, W: 10}
	for _, c := range []*Conv{
		{Maps: 6, Window: Window{Kernel: 3, Stride: 1, Pad: 1}},
		{Maps: 6, Window: Window{Kernel: 5, Stride: 2, Pad: 2}, Groups: 2},
		{Maps: 2, Window: Window{Kernel: 4, Stride: 3, Rounding: Same}},
		{Maps: 1, Window: Window{Kernel: 7, Stride: 1}},
	} {
		out, err := c.Output(in)
		if err != nil {
			t.Fatal(err)
		}
		op := c.Op(device.Place{In: in, Out: out}, make([]params.Range, 2)).(*device.Conv)
		var want FLOPs
		for oy := range out.H {
			for ox := range out.W {
				for r := range op.Kernel {
					for s := range op.Kernel {
						y, x := oy*op.Stride+r-op.PadTop, ox*op.Stride+s-op.PadLeft
						n := int64(2 * out.C * in.C / op.Groups)
						want.Textbook += n
						if y >= 0 && y < in.H && x >= 0 && x < in.W {
							want.Needed += n
						}
					}
				}
			}
		}
		if got := c.FLOPs(in, out); got != want {
			t.Errorf("%s: %+v, want %+v", c.Detail(), got, want)
		}
	}
	if got, want := (&Dense{Outputs: 5}).FLOPs(in, device.Shape{C: 5, H: 1, W: 1}), (FLOPs{2800, 2800}); got != want {
		t.Errorf("fully connected: %+v, want %+v", got, want)
	}
}
