package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-train/muster/model/params"
)

func mustLayout(t testing.TB, tensors ...params.Tensor) *params.Layout {
	t.Helper()
	l, err := params.NewLayout(tensors)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// sample returns a small state; values include those that a lossy way would change.
func sample(t testing.TB, step uint64) *State {
	t.Helper()
	l := mustLayout(t, params.Tensor{Name: "conv1.weight", Shape: []int{3, 2, 2}}, params.Tensor{Name: "conv1.bias", Shape: []int{3}},
		params.Tensor{Name: "scale", Shape: []int{}}, params.Tensor{Name: "fc2.weight", Shape: []int{4, 5}})
	s := &State{
		Meta: Meta{
			Job: json.RawMessage(`{"name":"a<b>&c","network":"alexnet","seed":1}`), JobHash: "5eed", Network: "alexnet",
			Schedule: "discexp:0.1,5000000", Step: step, Samples: 128 * step, NotFinite: 2,
			Data: Data{Fingerprint: "da7a", TrainImages: 50000, TestImages: 10000, Classes: 10},
			Best: &Score{Step: 2, Epoch: 1, Accuracy: 0.5, Loss: 1.25},
			History: []EpochScore{
				{Epoch: 0, Step: 1, Samples: 128, TrainLoss: Float(math.Inf(1)), TestLoss: Float(math.Inf(-1)), Top1: 0.1, Top5: 0.5, Rate: 0.1, Seconds: 1.5},
				{Epoch: 1, Step: 2, Samples: 256, TrainLoss: 2.25, TestLoss: 2.5, Top1: 0.5, Top5: 0.75, Rate: 0.1, Seconds: 1.25},
			},
		},
		Layout: l, Parameters: params.NewVector(l.Size()), Momentum: params.NewVector(l.Size()),
	}
	rng := rand.New(rand.NewPCG(step, 5))
	for i := range s.Parameters {
		s.Parameters[i], s.Momentum[i] = float32(rng.NormFloat64()), float32(rng.NormFloat64())
	}
	s.Parameters[1], s.Parameters[2], s.Parameters[3] = float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, math.MaxFloat32
	s.Momentum[0], s.Momentum[1] = math.Float32frombits(0x7fc12345), float32(math.Inf(-1))
	return s
}

func encoded(t testing.TB, s *State) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, s); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func decode(b []byte) (*State, error) { return Decode(bytes.NewReader(b), int64(len(b))) }

// compare reports where two states differ; values are compared by their bits.
func compare(t testing.TB, got, want *State) {
	t.Helper()
	if d := cmp.Diff(want.Meta, got.Meta); d != "" {
		t.Errorf("meta differs (-want +got):\n%s", d)
	}
	if err := CheckLayout(got.Layout, want.Layout); err != nil {
		t.Error(err)
	}
	for _, v := range []struct {
		name      string
		got, want []float32
	}{{"parameters", got.Parameters, want.Parameters}, {"momentum", got.Momentum, want.Momentum}} {
		if len(v.got) != len(v.want) {
			t.Fatalf("%s: %d values, want %d", v.name, len(v.got), len(v.want))
		}
		for i := range v.want {
			if g, w := math.Float32bits(v.got[i]), math.Float32bits(v.want[i]); g != w {
				t.Fatalf("%s[%d] has bits %08x, want %08x", v.name, i, g, w)
			}
		}
	}
}

// crafted returns a file with these sections whose checksums and marker are all
// right, whatever is in them.
func crafted(meta, layout, parameters, momentum []byte) []byte {
	sections := [sectionCount][]byte{meta, layout, parameters, momentum}
	var length [sectionCount]int64
	for i, s := range sections {
		length[i] = int64(len(s))
	}
	t := newTable(length)
	b := make([]byte, t.size())
	header := t.header()
	copy(b, header)
	crcs := [1 + sectionCount]uint32{binary.LittleEndian.Uint32(header[len(header)-4:])}
	for i, s := range sections {
		copy(b[t.offset[i]:], s)
		crcs[1+i] = crc32.Checksum(s, castagnoli)
		binary.LittleEndian.PutUint32(b[t.offset[i]+length[i]:], crcs[1+i])
	}
	copy(b[t.end:], t.marker(crcs))
	return b
}
