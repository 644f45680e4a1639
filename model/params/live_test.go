package params

import (
	"math"
	"slices"
	"testing"
)

// counted returns a vector without a zero.
func counted(n int) []float32 {
	v := NewVector(n)
	for i := range v {
		v[i] = float32(i + 1)
	}
	return v
}

// patterned begins tensors in the middle of chunks, and ends chunks within a pattern.
func patterned(t *testing.T) (l *Layout, live []bool) {
	t.Helper()
	centre := []bool{true, true, true, true, false, true, true, true, true}
	tensors := []Tensor{
		{Name: "a.weight", Shape: []int{1000, 11}},
		{Name: "conv.weight", Shape: []int{300, 200, 3, 3}, Zero: centre},
		{Name: "conv.bias", Shape: []int{300}},
		{Name: "whole.weight", Shape: []int{7, 5}, Zero: []bool{false, true, false, true, true}},
		{Name: "dead", Shape: []int{4}, Zero: []bool{true}},
		{Name: "last", Shape: []int{3}},
	}
	l, err := NewLayout(tensors)
	if err != nil {
		t.Fatal(err)
	}
	for _, tensor := range l.Tensors() {
		for i := range tensor.Range.Len() {
			live = append(live, tensor.Zero == nil || !tensor.Zero[i%len(tensor.Zero)])
		}
	}
	return l, live
}

func TestPackedIsEveryLiveValueInOrder(t *testing.T) {
	l, live := patterned(t)
	v := counted(l.Size())
	before := slices.Clone(v)
	for chunk := range l.Chunks() {
		r := l.Chunk(chunk)
		var want []float32
		for i := r.First; i < r.End; i++ {
			if live[i] {
				want = append(want, v[i])
			}
		}
		dst := make([]float32, l.Live(chunk))
		if got := l.Pack(dst, v, chunk); !slices.Equal(got, want) {
			t.Errorf("chunk %d: %d values packed, not the %d live ones in order", chunk, len(got), len(want))
		}
	}
	if !slices.Equal(v, before) {
		t.Error("packing changed the vector")
	}
}

func TestUnpackedIsTheGradientAmongZeros(t *testing.T) {
	l, live := patterned(t)
	v := counted(l.Size())
	for chunk := range l.Chunks() {
		r := l.Chunk(chunk)
		packed := slices.Clone(l.Pack(make([]float32, ChunkValues), v, chunk))
		dst := make([]float32, ChunkValues)
		for i := range dst {
			dst[i] = float32(math.NaN()) // of another chunk
		}
		got := l.Unpack(dst, packed, chunk)
		if len(got) != r.Len() {
			t.Fatalf("chunk %d: %d values, want %d", chunk, len(got), r.Len())
		}
		for i, x := range got {
			want := float32(0)
			if live[r.First+i] {
				want = v[r.First+i]
			}
			if math.Float32bits(x) != math.Float32bits(want) {
				t.Fatalf("chunk %d, value %d: %g, want %g", chunk, i, x, want)
			}
		}
	}
}

// Most chunks hold no value that is known to be zero: Unpack has nothing to do for them.
func TestChunksThatAreAllLiveAreNotUnpacked(t *testing.T) {
	l := sample(t)
	v := counted(l.Size())
	for chunk := range l.Chunks() {
		if n := l.Chunk(chunk).Len(); l.Live(chunk) != n {
			t.Errorf("chunk %d: %d of %d values live", chunk, l.Live(chunk), n)
		}
		packed := l.Pack(make([]float32, ChunkValues), v, chunk)
		if !slices.Equal(packed, l.Chunk(chunk).Of(v)) {
			t.Errorf("chunk %d: packed values are not those of the chunk", chunk)
		}
		if got := l.Unpack(nil, packed, chunk); &got[0] != &packed[0] {
			t.Errorf("chunk %d: Unpack copied", chunk)
		}
	}
}

func TestPackingAllocatesNothing(t *testing.T) {
	l, _ := patterned(t)
	v, packed, dst := counted(l.Size()), make([]float32, ChunkValues), make([]float32, ChunkValues)
	if n := testing.AllocsPerRun(10, func() { l.Unpack(dst, l.Pack(packed, v, 1), 1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLayoutRefusesAPatternThatDoesNotFit(t *testing.T) {
	if _, err := NewLayout([]Tensor{{Name: "a", Shape: []int{10}, Zero: make([]bool, 9)}}); err == nil {
		t.Error("NewLayout accepted 10 values with a pattern of 9")
	}
}

// A checkpoint and a worker of the same network know each other, however much
// of the gradient is known.
func TestFingerprintIsThatOfTheParameters(t *testing.T) {
	a, err := NewLayout([]Tensor{{Name: "a", Shape: []int{9}}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewLayout([]Tensor{{Name: "a", Shape: []int{9}, Zero: []bool{true, false, true}}})
	if err != nil {
		t.Fatal(err)
	}
	if a.Fingerprint() != b.Fingerprint() {
		t.Error("Zero changes the fingerprint")
	}
}
