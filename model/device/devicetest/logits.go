package devicetest

import (
	"fmt"
	"math"
	"slices"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/params"
)

// logits returns a plan whose logits are the image itself.
func logits(d device.Device, classes, images int) (device.Plan, error) {
	g := from(classes, 1, 1).dense(classes).done()
	p, err := d.Compile(g, device.Options{Images: images, Nodes: 1})
	if err != nil {
		return nil, err
	}
	clear(p.Parameters())
	for c := range classes {
		p.Parameters()[c*classes+c] = 1
	}
	p.Loaded(params.Range{First: 0, End: g.Parameters})
	return p, nil
}

// largeLogits checks losses whose exponentials can't be represented.
func largeLogits(d device.Device) error {
	p, err := logits(d, 3, 2)
	if err != nil {
		return err
	}
	tallies, err := p.Evaluate(&device.Batch{
		Images: []float32{1000, -1000, 998, -3e4, -3e4, -3e4}, Labels: []int32{2, 0},
		Shards: []device.ShardImages{{Shard: 0, Images: 2}},
	})
	if err != nil {
		return err
	}
	want := 2 + math.Log1p(math.Exp(-2)) + math.Log(3)
	if math.Abs(tallies[0].Loss-want) > 1e-5 {
		return fmt.Errorf("loss %g, want %g", tallies[0].Loss, want)
	}
	return p.Close()
}

// nanIsNotLost puts one NaN into the input: loss and gradient must tell of it,
// for others refuse what is not finite.
func nanIsNotLost(d device.Device) error {
	for _, sums := range []device.Precision{device.F32, device.BF16} {
		if err := nanIsIn(d, sums); err != nil {
			return fmt.Errorf("sums of %v: %w", sums, err)
		}
	}
	return nil
}

func nanIsIn(d device.Device, sums device.Precision) error {
	g := whole()
	p, err := compileFor(d, g, device.Options{Images: 20, Nodes: 2, Sums: sums})
	if err != nil {
		return err
	}
	b := batch(g, []int{0, 1}, []int{17, 3})
	b.Nodes = leaves([]int{0, 1})
	want, _, err := alone(d, g, 1, []int{17, 3})
	if err != nil {
		return err
	}
	want = treeSum(params.Leaf(1), map[int][]float32{1: want}, keeper(sums))
	for _, sign := range []float64{1, -1} {
		b.Images[40] = float32(math.Copysign(math.NaN(), sign))
		tallies, err := p.Gradient(b, nil)
		if err != nil {
			return err
		}
		if !math.IsNaN(tallies[0].Loss) || math.IsNaN(tallies[1].Loss) {
			return fmt.Errorf("losses %g and %g, want NaN for the first shard alone", tallies[0].Loss, tallies[1].Loss)
		}
		if !slices.ContainsFunc(p.Sum(0), func(v float32) bool { return v != v }) {
			return fmt.Errorf("no NaN in the gradient of an image with one")
		}
		if err := sameBits("shard beside one with a NaN", p.Sum(1), want); err != nil {
			return err
		}
	}
	return p.Close()
}

// ranks checks top1 and top5 with equal logits.
func ranks(d device.Device) error {
	const classes = 7
	for _, tc := range []struct {
		label      int32
		logits     [classes]float32
		top1, top5 int
	}{
		{3, [classes]float32{0, 0, 0, 1, 0, 0, 0}, 1, 1},
		{0, [classes]float32{}, 1, 1},
		{4, [classes]float32{}, 0, 1},
		{5, [classes]float32{}, 0, 0},
		{0, [classes]float32{1, 2, 3, 4, 5, 0, 0}, 0, 1},
		{6, [classes]float32{1, 2, 3, 4, 5, 0, 0}, 0, 0},
		{2, [classes]float32{-1, -5, -1, -2, -3, -4, -6}, 0, 1},
	} {
		p, err := logits(d, classes, 1)
		if err != nil {
			return err
		}
		tallies, err := p.Evaluate(&device.Batch{
			Images: tc.logits[:], Labels: []int32{tc.label}, Shards: []device.ShardImages{{Shard: 0, Images: 1}},
		})
		if err != nil {
			return err
		}
		if tallies[0].Top1 != tc.top1 || tallies[0].Top5 != tc.top5 {
			return fmt.Errorf("label %d of %v: %+v, want top1 %d, top5 %d", tc.label, tc.logits, tallies[0], tc.top1, tc.top5)
		}
		if err := p.Close(); err != nil {
			return err
		}
	}
	return nil
}

// predicted checks the classes that Evaluate names: equal logits, NaN, more
// images than a lane block, and that Top1 counts the same.
func predicted(d device.Device) error {
	const classes = 4
	nan := float32(math.NaN())
	rows := []struct {
		logits [classes]float32
		want   int32
	}{
		{[classes]float32{0, 0, 0, 1}, 3},
		{[classes]float32{}, 0},
		{[classes]float32{-2, -1, -1, -3}, 1},
		{[classes]float32{5, 6, 7, 7}, 2},
		{[classes]float32{0, nan, 0, 0}, -1},
		{[classes]float32{9, 6, 7, 7}, 0},
	}
	const n = 21
	p, err := logits(d, classes, n)
	if err != nil {
		return err
	}
	b := &device.Batch{Shards: []device.ShardImages{{Shard: 0, Images: n}}, Predicted: make([]int32, n)}
	right := 0
	for i := range n {
		r := rows[i%len(rows)]
		label := int32(i / len(rows)) // each class in turn
		b.Images, b.Labels = append(b.Images, r.logits[:]...), append(b.Labels, label)
		b.Predicted[i] = 77
		if r.want == label {
			right++
		}
	}
	tallies, err := p.Evaluate(b)
	if err != nil {
		return err
	}
	if tallies[0].Top1 != right {
		return fmt.Errorf("top1 %d, want %d", tallies[0].Top1, right)
	}
	for i, got := range b.Predicted {
		if r := rows[i%len(rows)]; got != r.want {
			return fmt.Errorf("image %d, logits %v: predicted %d, want %d", i, r.logits, got, r.want)
		}
	}
	b.Predicted = b.Predicted[1:]
	if _, err := p.Evaluate(b); err == nil {
		return fmt.Errorf("room for %d predicted classes of %d: no error", len(b.Predicted), n)
	}
	return p.Close()
}

// outputs checks the logits that Predict gives, of more images than a lane block.
func outputs(d device.Device) error {
	const classes, n = 3, 21
	p, err := logits(d, classes, n)
	if err != nil {
		return err
	}
	b := &device.Batch{Logits: make([]float32, n*classes)}
	for i := range n * classes {
		b.Images = append(b.Images, float32(i*7%11)-5)
		b.Logits[i] = 77
	}
	probabilities := make([]float32, n*classes)
	if err := p.Predict(probabilities, b); err != nil {
		return err
	}
	if !slices.Equal(b.Logits, b.Images) {
		return fmt.Errorf("logits %v, want %v", b.Logits, b.Images)
	}
	b.Logits = b.Logits[1:]
	if err := p.Predict(probabilities, b); err == nil {
		return fmt.Errorf("room for %d logits of %d: no error", len(b.Logits), n*classes)
	}
	return p.Close()
}
