package bench

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/muster-train/muster/model"
)

func TestBackwardGoesFromTheLastLayerToTheFirst(t *testing.T) {
	for _, name := range model.Names() {
		network, err := model.New(name, model.Options{})
		if err != nil {
			t.Fatal(err)
		}
		const compute = 3 * time.Second
		after := backward(network, compute)
		if len(after) != network.Layout.Chunks() {
			t.Fatalf("%s: times of %d chunks, want %d", name, len(after), network.Layout.Chunks())
		}
		if !slices.IsSortedFunc(after, func(a, b time.Duration) int { return -int(a - b) }) {
			t.Errorf("%s: a chunk is there before one behind it: %v", name, after)
		}
		if first := after[0]; first < compute-time.Microsecond || first > compute {
			t.Errorf("%s: the first chunk is there after %v, want all of %v", name, first, compute)
		}
		if last := after[len(after)-1]; last <= compute/3 {
			t.Errorf("%s: the last chunk is there after %v, before the end of the forward pass", name, last)
		}
		if slices.Max(backward(network, 0)) != 0 {
			t.Errorf("%s: what takes no time is not there at once", name)
		}
	}
}

// fc7 has most of alexnet's parameters, and fc8 behind it little work: its chunks
// are there when the gradient of its weights is, a third of the step's work after
// the forward pass.
func TestALayersChunksAreThereTogether(t *testing.T) {
	network, err := model.New("alexnet", model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var all, behind, own float64
	for _, row := range network.Summary() {
		all += float64(row.Backward.Needed)
		switch {
		case strings.HasPrefix(row.Name, "fc8"):
			behind += float64(row.Backward.Needed)
		case strings.HasPrefix(row.Name, "fc7"):
			own += float64(row.Forward.Needed)
		}
	}
	after := backward(network, time.Second)
	want := time.Duration(float64(time.Second) * (1 + 2*(behind+own)/all) / 3)
	for chunk := 19; chunk < 82; chunk++ {
		if diff := after[chunk] - want; diff < -time.Microsecond || diff > time.Microsecond {
			t.Errorf("chunk %d of fc7 is there after %v, want %v", chunk, after[chunk], want)
		}
	}
}
