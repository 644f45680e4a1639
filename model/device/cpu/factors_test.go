package cpu

import (
	"testing"

	"github.com/muster-train/muster/internal/philox"
	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// factorGraph is two fully connected layers, of more columns than a unit of work takes.
func factorGraph() *device.Graph {
	in, mid, out := device.Shape{C: 290, H: 1, W: 1}, device.Shape{C: 40, H: 1, W: 1}, device.Shape{C: 3, H: 1, W: 1}
	one := &device.Dense{Place: device.Place{Name: "one", In: in, Out: mid}, Weight: params.Range{First: 0, End: 11600}, Bias: params.Range{First: 11600, End: 11640}, SkipInputGradient: true}
	two := &device.Dense{Place: device.Place{Name: "two", In: mid, Out: out}, Weight: params.Range{First: 11640, End: 11760}, Bias: params.Range{First: 11760, End: 11763}}
	return &device.Graph{Input: in, Ops: []device.Op{one, two}, Classes: 3, Parameters: 11763}
}

// The suite checks what is handed out; here it is that something is, and only where
// products are the device's own chains, and that rows in a part are not summed.
func TestPartsAreHandedOutInPlaceOfSums(t *testing.T) {
	for _, tc := range []struct {
		name   string
		o      device.Options
		handed bool
	}{
		{"float32", device.Options{Images: 20, Nodes: 1}, true},
		{"products of bfloat16", device.Options{Images: 20, Nodes: 1, Precision: device.BF16}, false},
		{"sums of bfloat16", device.Options{Images: 20, Nodes: 1, Sums: device.BF16}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := New(2)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			g := factorGraph()
			p, err := d.Compile(g, tc.o)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			draw := philox.New(3, 200<<16, 0, 0)
			for i := range p.Parameters() {
				p.Parameters()[i] = draw.Float32() - 0.5
			}
			p.Loaded(params.Range{First: 0, End: g.Parameters})
			b := &device.Batch{Shards: []device.ShardImages{{Shard: 2, Images: 20}}, Nodes: []params.Node{params.Leaf(2)}, Labels: make([]int32, 20), Index: make([]uint32, 20)}
			for range 20 * 290 {
				b.Images = append(b.Images, draw.Float32())
			}
			var parts []int
			room := make([]float32, 20*290)
			b.Factors = &device.Factors{
				// Rows 2 to 36 of the first layer are whole, and all of the second.
				Parts: []params.Range{{First: 290 + 7, End: 37*290 + 100}, {First: 11640, End: 11760}},
				Room:  func(part int, s device.ShardImages) (a, b []float32) { return room, make([]float32, 20*40) },
				Done:  func(part int, s device.ShardImages) { parts = append(parts, part) },
			}
			const never = 1e30
			for i := range p.Sum(0) {
				p.Sum(0)[i] = never
			}
			if _, err := p.Gradient(b, nil); err != nil {
				t.Fatal(err)
			}
			if got := len(parts) == 2 && parts[0] == 1 && parts[1] == 0; got != tc.handed || !got && len(parts) > 0 {
				t.Errorf("parts %v were handed out, want 1 and 0: %v", parts, tc.handed)
			}
			if tc.handed {
				for i, v := range b.Images {
					if room[i] != v {
						t.Fatalf("activation %d is %v, want the image's %v", i, room[i], v)
					}
				}
			}
			for i, v := range p.Sum(0) {
				left := tc.handed && (i >= 2*290 && i < 37*290 || i >= 11640 && i < 11760)
				if (v == never) != left {
					t.Fatalf("sum %d is %v: computed, want %v", i, v, !left)
				}
			}
		})
	}
}
