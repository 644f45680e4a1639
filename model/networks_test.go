package model

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/device"
)

// build returns a network that must be possible.
func build(t *testing.T, name string, o Options) *Network {
	t.Helper()
	n, err := New(name, o)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// want is one row of docs/networks.md. Activations are left out: they follow
// each convolution and each fully connected layer but the last.
type want struct {
	name, detail string
	output       device.Shape
	parameters   int
}

func maps(c, side int) device.Shape { return device.Shape{C: c, H: side, W: side} }

// Rows that networks share.
var (
	paddleTop = []want{
		{"conv3", "384 of 3x3, pad 1", maps(384, 1), 384*256*9 + 384},
		{"conv4", "384 of 3x3, pad 1", maps(384, 1), 384*384*9 + 384},
		{"conv5", "256 of 3x3, pad 1", maps(256, 1), 256*384*9 + 256},
		{"pool5", "max 3/2, rounding up", maps(256, 1), 0},
		{"fc6", "4096", maps(4096, 1), 4096*256 + 4096},
		{"dropout6", "0.5, form of 2012", maps(4096, 1), 0},
		{"fc7", "4096", maps(4096, 1), 4096*4096 + 4096},
		{"dropout7", "0.5, form of 2012", maps(4096, 1), 0},
		{"fc8", "10", maps(10, 1), 10*4096 + 10},
	}
	bottom2012 = want{"conv1", "96 of 11x11, stride 4", maps(96, 55), 96*363 + 96}
	middle2012 = want{"conv2", "256 of 5x5, pad 2, groups 2", maps(256, 27), 256*48*25 + 256}
	top2012    = []want{
		{"conv3", "384 of 3x3, pad 1", maps(384, 13), 384*256*9 + 384},
		{"conv4", "384 of 3x3, pad 1, groups 2", maps(384, 13), 384*192*9 + 384},
		{"conv5", "256 of 3x3, pad 1, groups 2", maps(256, 13), 256*192*9 + 256},
		{"pool5", "max 3/2", maps(256, 6), 0},
		{"fc6", "4096", maps(4096, 1), 4096*9216 + 4096},
		{"dropout6", "0.5, form of 2012", maps(4096, 1), 0},
		{"fc7", "4096", maps(4096, 1), 4096*4096 + 4096},
		{"dropout7", "0.5, form of 2012", maps(4096, 1), 0},
		{"fc8", "1000", maps(1000, 1), 1000*4096 + 1000},
	}
)

const (
	paddleLRNDetail = "size 5, k 1, alpha 0.0001/5, beta 0.75"
	plainLRNDetail  = "size 5, k 2, alpha 0.0001, beta 0.75"
)

var networks = []struct {
	name       string
	options    Options
	input      int
	parameters int
	layers     []want
}{
	{"alexnet", Options{}, 32, 21622154, append([]want{
		{"conv1", "96 of 11x11, stride 4, pad 1", maps(96, 6), 96*363 + 96},
		{"pool1", "max 3/2, rounding up", maps(96, 3), 0},
		{"conv2", "256 of 5x5, pad 2", maps(256, 3), 256*96*25 + 256},
		{"pool2", "max 3/2, rounding up", maps(256, 1), 0},
	}, paddleTop...)},
	{"alexnet-lrn", Options{}, 32, 21622154, append([]want{
		{"conv1", "96 of 11x11, stride 4, pad 1", maps(96, 6), 96*363 + 96},
		{"lrn1", paddleLRNDetail, maps(96, 6), 0},
		{"pool1", "max 3/2, rounding up", maps(96, 3), 0},
		{"conv2", "256 of 5x5, pad 2", maps(256, 3), 256*96*25 + 256},
		{"lrn2", paddleLRNDetail, maps(256, 3), 0},
		{"pool2", "max 3/2, rounding up", maps(256, 1), 0},
	}, paddleTop...)},
	{"alexnet-tf", Options{}, 224, 57044810, []want{
		{"conv1", "64 of 11x11, stride 4, SAME", maps(64, 56), 64*363 + 64},
		{"lrn1", plainLRNDetail, maps(64, 56), 0},
		{"pool1", "max 3/2", maps(64, 27), 0},
		{"conv2", "192 of 5x5, SAME", maps(192, 27), 192*64*25 + 192},
		{"lrn2", plainLRNDetail, maps(192, 27), 0},
		{"pool2", "max 3/2", maps(192, 13), 0},
		{"conv3", "384 of 3x3, SAME", maps(384, 13), 384*192*9 + 384},
		{"conv4", "256 of 3x3, SAME", maps(256, 13), 256*384*9 + 256},
		{"conv5", "256 of 3x3, SAME", maps(256, 13), 256*256*9 + 256},
		{"pool5", "max 3/2", maps(256, 6), 0},
		{"fc6", "4096", maps(4096, 1), 4096*9216 + 4096},
		{"dropout6", "0.5, inverted", maps(4096, 1), 0},
		{"fc7", "4096", maps(4096, 1), 4096*4096 + 4096},
		{"dropout7", "0.5, inverted", maps(4096, 1), 0},
		{"fc8", "10", maps(10, 1), 10*4096 + 10},
	}},
	{"alexnet-2012", Options{}, 227, 60965224, append([]want{
		bottom2012,
		{"pool1", "max 3/2", maps(96, 27), 0},
		{"lrn1", plainLRNDetail, maps(96, 27), 0},
		middle2012,
		{"pool2", "max 3/2", maps(256, 13), 0},
		{"lrn2", plainLRNDetail, maps(256, 13), 0},
	}, top2012...)},
	{"alexnet-2012", Options{LRNOrder: "paper"}, 227, 60965224, append([]want{
		bottom2012,
		{"lrn1", plainLRNDetail, maps(96, 55), 0},
		{"pool1", "max 3/2", maps(96, 27), 0},
		middle2012,
		{"lrn2", plainLRNDetail, maps(256, 27), 0},
		{"pool2", "max 3/2", maps(256, 13), 0},
	}, top2012...)},
	{"lenet5", Options{}, 32, 62006, []want{
		{"conv1", "6 of 5x5", maps(6, 28), 6*75 + 6},
		{"pool1", "max 2/2", maps(6, 14), 0},
		{"conv2", "16 of 5x5", maps(16, 10), 16*150 + 16},
		{"pool2", "max 2/2", maps(16, 5), 0},
		{"fc3", "120", maps(120, 1), 120*400 + 120},
		{"fc4", "84", maps(84, 1), 84*120 + 84},
		{"fc5", "10", maps(10, 1), 10*84 + 10},
	}},
	{"simple-cnn", Options{}, 32, 39080, []want{
		{"conv1", "20 of 5x5", maps(20, 28), 20*75 + 20},
		{"pool1", "max 2/2, rounding up", maps(20, 14), 0},
		{"conv2", "50 of 5x5", maps(50, 10), 50*500 + 50},
		{"pool2", "max 2/2, rounding up", maps(50, 5), 0},
		{"fc3", "10", maps(10, 1), 10*1250 + 10},
	}},
	{"alexnet-cifar", Options{}, 32, 7506762, []want{
		{"conv1", "64 of 3x3, pad 1", maps(64, 32), 64*27 + 64},
		{"pool1", "max 3/2, rounding up", maps(64, 16), 0},
		{"conv2", "192 of 3x3, pad 1", maps(192, 16), 192*64*9 + 192},
		{"pool2", "max 3/2, rounding up", maps(192, 8), 0},
		{"conv3", "384 of 3x3, pad 1", maps(384, 8), 384*192*9 + 384},
		{"conv4", "256 of 3x3, pad 1", maps(256, 8), 256*384*9 + 256},
		{"conv5", "256 of 3x3, pad 1", maps(256, 8), 256*256*9 + 256},
		{"pool5", "max 3/2, rounding up", maps(256, 4), 0},
		{"fc6", "1024", maps(1024, 1), 1024*4096 + 1024},
		{"dropout6", "0.5, inverted", maps(1024, 1), 0},
		{"fc7", "1024", maps(1024, 1), 1024*1024 + 1024},
		{"dropout7", "0.5, inverted", maps(1024, 1), 0},
		{"fc8", "10", maps(10, 1), 10*1024 + 10},
	}},
}

func TestNetworksAreTheirTables(t *testing.T) {
	var seen []string
	for _, tc := range networks {
		seen = append(seen, tc.name)
		n := build(t, tc.name, tc.options)
		if n.Input != maps(3, tc.input) || n.Preprocess.Side != tc.input {
			t.Errorf("%s takes %v, images resized to %d; want %d", tc.name, n.Input, n.Preprocess.Side, tc.input)
		}
		if got := n.Layout.Size(); got != tc.parameters {
			t.Errorf("%s has %d parameters, want %d", tc.name, got, tc.parameters)
		}
		var rows []want
		for _, r := range n.Summary() {
			if r.Kind != "activation" {
				rows = append(rows, want{r.Name, r.Detail, r.Output, r.Parameters})
			}
		}
		if !slices.Equal(rows, tc.layers) {
			t.Errorf("%s %+v:\n got %v\nwant %v", tc.name, tc.options, rows, tc.layers)
		}
	}
	for _, name := range Names() {
		if !slices.Contains(seen, name) {
			t.Errorf("no table for %s", name)
		}
	}
}

func TestEveryHiddenLayerIsActivated(t *testing.T) {
	for _, tc := range networks {
		n := build(t, tc.name, tc.options)
		for i, l := range n.Layers {
			var c want
			switch l := l.(type) {
			case *Conv:
				c = want{name: "relu" + l.Name[len("conv"):]}
			case *Dense:
				if i == len(n.Layers)-1 {
					continue
				}
				c = want{name: "relu" + l.Name[len("fc"):]}
			default:
				continue
			}
			if a, ok := n.Layers[i+1].(*Activation); !ok || a.Name != c.name || a.Function != device.ReLU {
				t.Errorf("%s: %s is followed by %s, want %s", tc.name, l.Label(), n.Layers[i+1].Label(), c.name)
			}
		}
	}
}

func TestTheOutputIsOneLogitForEachClass(t *testing.T) {
	for _, name := range Names() {
		n := build(t, name, Options{Classes: 7})
		last := n.Summary()[len(n.Layers)-1]
		if n.Classes != 7 || n.Graph.Classes != 7 || last.Output != maps(7, 1) || last.Kind != "fully connected" {
			t.Errorf("%s with 7 classes ends with %+v, of %d and %d classes", name, last, n.Classes, n.Graph.Classes)
		}
	}
}

func TestAlexNetTFTakesAnyInputWhoseMapsStay(t *testing.T) {
	n := build(t, "alexnet-tf", Options{InputSize: 57})
	var got []int
	for _, r := range n.Summary() {
		if r.Kind == "pooling" {
			got = append(got, r.Output.H)
		}
	}
	if want := []int{7, 3, 1}; !slices.Equal(got, want) || n.Preprocess.Side != 57 {
		t.Errorf("maps after pooling %v, side %d; want %v, 57", got, n.Preprocess.Side, want)
	}
}

// TestTheDocumentHasTheTotals holds docs/networks.md to the networks.
func TestTheDocumentHasTheTotals(t *testing.T) {
	document, err := os.ReadFile("../docs/networks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Names() {
		n := build(t, name, Options{})
		total := n.Total()
		all := total.Forward.Plus(total.Backward)
		row := fmt.Sprintf("| %s | %d | %s | %.1f (%.1f) |", formatShape(n.Input), n.Classes, thousands(total.Parameters), float64(all.Textbook)/1e6, float64(all.Needed)/1e6)
		found := false
		for line := range strings.Lines(string(document)) {
			found = found || strings.HasPrefix(line, "| [`"+name+"`]") && strings.Contains(line, row)
		}
		if !found {
			t.Errorf("docs/networks.md has no row for %s with %s", name, row)
		}
	}
}

// thousands writes n with commas: 21,622,154.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
