package model

import (
	"fmt"
	"testing"

	"github.com/muster-train/muster/model/params"
)

func TestLayersAreFactoredWhereThatIsFewerValues(t *testing.T) {
	for _, tc := range []struct {
		network string
		o       Options
		batch   int
		want    string // name, and chunks: first to end
	}{
		{"alexnet", Options{}, 128, "[fc6.weight 15-18 fc7.weight 19-82]"},
		{"alexnet", Options{}, 2015, "[fc7.weight 19-82]"}, // 2016 images of 8192 values are 63 chunks
		{"alexnet", Options{}, 2016, "[]"},
		{"alexnet-cifar", Options{}, 128, "[fc6.weight 9-24 fc7.weight 25-28]"},
		{"lenet5", Options{}, 1, "[]"},                             // all of one chunk
		{"lenet5", Options{Classes: 4000}, 1, "[]"},                // 336,000 values, no whole chunk
		{"lenet5", Options{Classes: 8000}, 32, "[fc5.weight 1-2]"}, // 672,000 values, of which one chunk is whole
		{"lenet5", Options{Classes: 8000}, 33, "[]"},
	} {
		n, err := New(tc.network, tc.o)
		if err != nil {
			t.Fatal(err)
		}
		got := []string{}
		for _, f := range n.Factored(tc.batch) {
			tensor := n.Layout.Tensors()[f.Tensor]
			first, end := f.Chunks()
			got = append(got, fmt.Sprintf("%s %d-%d", tensor.Name, first, end))
			if tensor.Range != f.Weight || len(tensor.Shape) != 2 || tensor.Shape[0] != f.Out || tensor.Shape[1] != f.In {
				t.Errorf("%s: %+v is not tensor %+v", tc.network, f, tensor)
			}
			if whole := f.Whole(); whole.First < f.Weight.First || whole.End > f.Weight.End || whole.First != n.Layout.Chunk(first).First || whole.End != n.Layout.Chunk(end-1).End {
				t.Errorf("%s: %v are the whole chunks of %v", tc.network, whole, f.Weight)
			}
			if f.Values(tc.batch) >= f.Whole().Len() {
				t.Errorf("%s: %d values of factors in place of %d", tc.network, f.Values(tc.batch), f.Whole().Len())
			}
			for chunk := first; chunk < end; chunk++ {
				if n.Layout.Live(chunk) != params.ChunkValues {
					t.Errorf("%s: chunk %d has %d live values", tc.network, chunk, n.Layout.Live(chunk))
				}
			}
		}
		if fmt.Sprint(got) != tc.want {
			t.Errorf("%s %+v, steps of %d images: %v, want %s", tc.network, tc.o, tc.batch, got, tc.want)
		}
	}
}

// What docs/architecture.md says of alexnet.
func TestFactoredAlexnetSendsAFractionOfItsBytes(t *testing.T) {
	n, err := New("alexnet", Options{})
	if err != nil {
		t.Fatal(err)
	}
	var live, whole, values int
	for chunk := range n.Layout.Chunks() {
		live += n.Layout.Live(chunk)
	}
	for _, f := range n.Factored(128) {
		whole, values = whole+f.Whole().Len(), values+f.Values(128)
	}
	got := fmt.Sprintf("%.1f MB: %.1f MB of sums, %.1f MB of factors", 4e-6*float64(live), 4e-6*float64(live-whole), 4e-6*float64(values))
	if want := "75.5 MB: 6.3 MB of sums, 6.4 MB of factors"; got != want {
		t.Errorf("%s, the document says %s", got, want)
	}
}
