package model

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

func TestNewRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options Options
		want    string
	}{
		{"alexnet-lm", Options{}, `unknown network "alexnet-lm" (did you mean alexnet-lrn?); want one of alexnet, alexnet-lrn, alexnet-tf, alexnet-2012, lenet5, simple-cnn, alexnet-cifar`},
		{"LeNet-5", Options{}, `unknown network "LeNet-5" (did you mean lenet5?); want one of`},
		{"", Options{}, `unknown network ""; want one of`},
		{"transformer", Options{}, `unknown network "transformer"; want one of`},
		{"alexnet", Options{Activation: "rellu"}, `network alexnet: unknown activation "rellu" (did you mean relu?); want one of relu, leaky-relu, softplus`},
		{"alexnet", Options{Activation: "tanh"}, `unknown activation "tanh"; want one of relu, leaky-relu, softplus`},
		{"alexnet-2012", Options{LRNOrder: "papr"}, `network alexnet-2012: unknown lrn order "papr" (did you mean paper?); want article or paper`},
		{"alexnet-lrn", Options{LRNOrder: "article"}, `network alexnet-lrn: lrn order "article": only alexnet-2012 has a choice of order`},
		{"lenet5", Options{Classes: 1}, `network lenet5: classes 1: want 2 to 65536, or 0 for the network's own`},
		{"lenet5", Options{Classes: -10}, `classes -10: want 2 to 65536`},
		{"lenet5", Options{Classes: 65537}, `classes 65537: want 2 to 65536`},
		{"lenet5", Options{InputSize: -1}, `network lenet5: input size -1: want 1 to 1024, or 0 for the network's own`},
		{"lenet5", Options{InputSize: 1025}, `input size 1025: want 1 to 1024`},
		{"alexnet-tf", Options{InputSize: 32}, `network alexnet-tf: input size 32: layer pool5 (pooling) has no output for an input of 256x1x1: a window of 3x3, stride 2 does not fit into 1; the smallest input size for this network is 57`},
		{"alexnet-2012", Options{InputSize: 32}, `layer pool2 (pooling) has no output for an input of 256x2x2: a window of 3x3, stride 2 does not fit into 2; the smallest input size for this network is 67`},
		{"alexnet", Options{InputSize: 8}, `layer conv1 (convolution) has no output for an input of 3x8x8: a window of 11x11, stride 4, pad 1 does not fit into 8; the smallest input size for this network is 9`},
	} {
		n, err := New(tc.name, tc.options)
		if err == nil {
			t.Errorf("New(%q, %+v) = %d layers, want an error", tc.name, tc.options, len(n.Layers))
			continue
		}
		if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("New(%q, %+v):\n got %v\nwant %s", tc.name, tc.options, err, tc.want)
		}
	}
}

func TestTheSmallestInputSizeIsTheSmallest(t *testing.T) {
	smallest := regexp.MustCompile(`the smallest input size for this network is (\d+)$`)
	for _, name := range Names() {
		told := 0
		for side := 1; side <= 70; side++ {
			n, err := New(name, Options{InputSize: side})
			if err == nil {
				if side < told {
					t.Errorf("%s takes %d, but said that %d is the smallest", name, side, told)
				}
				checkChain(t, n)
				continue
			}
			m := smallest.FindStringSubmatch(err.Error())
			if m == nil {
				t.Errorf("%s at %d: %v; want the smallest size named", name, side, err)
				continue
			}
			told, _ = strconv.Atoi(m[1])
			if side >= told {
				t.Errorf("%s refuses %d, but said that %d will do", name, side, told)
			}
		}
		if told > 0 {
			if _, err := New(name, Options{InputSize: told}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestGraphsAreChains(t *testing.T) {
	for _, name := range Names() {
		for _, activation := range Activations() {
			checkChain(t, build(t, name, Options{Activation: activation}))
		}
	}
}

// checkChain says what devices may expect of any graph.
func checkChain(t *testing.T, n *Network) {
	t.Helper()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s at %d: %s", n.Name, n.Input.H, fmt.Sprintf(format, args...))
	}
	g := n.Graph
	if g.Input != n.Input || len(g.Ops) != len(n.Layers) || g.Parameters != n.Layout.Size() {
		fail("input %v, %d operations, %d parameters", g.Input, len(g.Ops), g.Parameters)
	}
	at, end, dropouts, parametrised := g.Input, 0, uint32(0), 0
	var labels []string
	take := func(weight, bias params.Range, skip bool) {
		if weight.First != end || bias.First != weight.End || weight.Len() <= 0 || bias.Len() <= 0 {
			fail("weight %v, bias %v after %d", weight, bias, end)
		}
		end = bias.End
		if skip != (parametrised == 0) {
			fail("parametrised operation %d: SkipInputGradient is %v", parametrised, skip)
		}
		parametrised++
	}
	for i, op := range g.Ops {
		in, out := op.Shapes()
		if in != at || out.C < 1 || out.H < 1 || out.W < 1 {
			fail("%s: %v to %v after %v", op.Label(), in, out, at)
		}
		if op.Label() != n.Layers[i].Label() || slices.Contains(labels, op.Label()) {
			fail("operation %d is labelled %q", i, op.Label())
		}
		labels = append(labels, op.Label())
		at = out
		switch op := op.(type) {
		case *device.Conv:
			if op.Weight.Len() != out.C*in.C/op.Groups*op.Kernel*op.Kernel || op.Bias.Len() != out.C {
				fail("%s: weight %v, bias %v", op.Name, op.Weight, op.Bias)
			}
			take(op.Weight, op.Bias, op.SkipInputGradient)
		case *device.Dense:
			if op.Weight.Len() != out.C*in.Values() || op.Bias.Len() != out.C {
				fail("%s: weight %v, bias %v", op.Name, op.Weight, op.Bias)
			}
			take(op.Weight, op.Bias, op.SkipInputGradient)
		case *device.Dropout:
			if op.Layer != dropouts {
				fail("%s has number %d, want %d", op.Name, op.Layer, dropouts)
			}
			dropouts++
		}
	}
	if at != (device.Shape{C: n.Classes, H: 1, W: 1}) || end != g.Parameters {
		fail("ends with %v and %d of %d parameters", at, end, g.Parameters)
	}
}

func TestActivationIsThatOfTheOptions(t *testing.T) {
	for name, kind := range map[string]device.ActivationKind{"": device.ReLU, "relu": device.ReLU, "leaky-relu": device.LeakyReLU, "softplus": device.Softplus} {
		found := 0
		for _, op := range build(t, "lenet5", Options{Activation: name}).Graph.Ops {
			if a, ok := op.(*device.Activation); ok {
				found++
				if a.Kind != kind {
					t.Errorf("activation %q: %s is of kind %d, want %d", name, a.Name, a.Kind, kind)
				}
			}
		}
		if found != 4 {
			t.Errorf("activation %q: %d activations, want 4", name, found)
		}
	}
}

func TestLayoutsDifferExactlyWhereShapesDo(t *testing.T) {
	same := build(t, "alexnet", Options{}).Layout.Fingerprint()
	if got := build(t, "alexnet-lrn", Options{Activation: "softplus"}).Layout.Fingerprint(); got != same {
		t.Error("LRN or activation changes the layout of alexnet")
	}
	for _, o := range []Options{{Classes: 11}, {InputSize: 96}} {
		if got := build(t, "alexnet", o).Layout.Fingerprint(); got == same {
			t.Errorf("%+v does not change the layout of alexnet", o)
		}
	}
}

func TestOptionsDoNotReachOtherNetworks(t *testing.T) {
	a := build(t, "alexnet-2012", Options{Classes: 10, InputSize: 67})
	b := build(t, "alexnet-2012", Options{})
	if a.Preprocess.Side != 67 || b.Preprocess.Side != 227 || b.Classes != 1000 || b.Input.H != 227 {
		t.Errorf("sides %d and %d, classes %d", a.Preprocess.Side, b.Preprocess.Side, b.Classes)
	}
}

// TestViewsNameEveryTensor also runs gorgonia's tensor package, which checks at
// start that the Go runtime is one it knows.
func TestViewsNameEveryTensor(t *testing.T) {
	n := build(t, "lenet5", Options{})
	v := params.NewVector(n.Layout.Size())
	n.Initialise(v, 1)
	views := n.Layout.Views(v)
	if len(views) != 10 {
		t.Fatalf("%d views, want 10", len(views))
	}
	w := views["conv2.weight"]
	if got := w.Shape(); !slices.Equal(got, []int{16, 6, 5, 5}) {
		t.Fatalf("conv2.weight has shape %v", got)
	}
	tensor, _ := n.Layout.Tensor("conv2.weight")
	at := tensor.Range.First + ((3*6+2)*5+1)*5 + 4
	if got, err := w.At(3, 2, 1, 4); err != nil || got != v[at] || v[at] == 0 {
		t.Errorf("conv2.weight[3,2,1,4] = %v, %v; want %v", got, err, v[at])
	}
	v[at] = 7
	if got, err := w.At(3, 2, 1, 4); err != nil || got != float32(7) {
		t.Errorf("after a change conv2.weight[3,2,1,4] = %v, %v; want 7", got, err)
	}
}
