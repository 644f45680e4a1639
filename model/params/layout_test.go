package params

import (
	"testing"
	"unsafe"
)

func sample(t *testing.T) *Layout {
	t.Helper()
	l, err := NewLayout([]Tensor{{Name: "a.weight", Shape: []int{3, 4}}, {Name: "a.bias", Shape: []int{3}}, {Name: "b", Shape: []int{ChunkValues}}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestTensorsFollowEachOther(t *testing.T) {
	l := sample(t)
	want := []Range{{0, 12}, {12, 15}, {15, 15 + ChunkValues}}
	for i, got := range l.Tensors() {
		if got.Range != want[i] {
			t.Errorf("tensor %d at %v, want %v", i, got.Range, want[i])
		}
	}
	if l.Size() != 15+ChunkValues || l.Chunks() != 2 {
		t.Errorf("size %d in %d chunks", l.Size(), l.Chunks())
	}
	if got, want := l.Chunk(1), (Range{ChunkValues, ChunkValues + 15}); got != want {
		t.Errorf("chunk 1 is %v, want %v", got, want)
	}
	if _, ok := l.Tensor("nothing"); ok {
		t.Error("found a tensor that is not there")
	}
}

func TestLayoutRefusesBadTensors(t *testing.T) {
	for _, bad := range [][]Tensor{{{Name: "a", Shape: []int{0}}}, {{Name: "", Shape: []int{1}}}, {{Name: "a", Shape: []int{1}}, {Name: "a", Shape: []int{2}}}} {
		if _, err := NewLayout(bad); err == nil {
			t.Errorf("NewLayout(%v) accepted", bad)
		}
	}
}

func TestFingerprintKnowsOrderNamesAndShapes(t *testing.T) {
	make := func(ts ...Tensor) string {
		l, err := NewLayout(ts)
		if err != nil {
			t.Fatal(err)
		}
		return l.Fingerprint()
	}
	a, b := Tensor{Name: "a", Shape: []int{2, 3}}, Tensor{Name: "b", Shape: []int{6}}
	want := make(a, b)
	for _, other := range []string{make(b, a), make(a), make(Tensor{Name: "a", Shape: []int{3, 2}}, b), make(Tensor{Name: "c", Shape: []int{2, 3}}, b)} {
		if other == want {
			t.Error("two layouts share a fingerprint")
		}
	}
	if again := make(a, b); again != want {
		t.Errorf("fingerprint %s, then %s", want, again)
	}
}

func TestViewsAliasTheVector(t *testing.T) {
	l := sample(t)
	v := NewVector(l.Size())
	if at := uintptr(unsafe.Pointer(&v[0])); at%64 != 0 {
		t.Errorf("vector at %#x, want a multiple of 64", at)
	}
	views := l.Views(v)
	v[5] = 7
	if got, err := views["a.weight"].At(1, 1); err != nil || got != float32(7) {
		t.Errorf("a.weight[1,1] = %v, %v; want 7", got, err)
	}
	if err := views["a.bias"].SetAt(float32(9), 2); err != nil || v[14] != 9 {
		t.Errorf("v[14] = %v, %v; want 9", v[14], err)
	}
}

func TestHashIsOfLittleEndianFloats(t *testing.T) {
	// sha256 of 00 00 80 3f 00 00 00 c0.
	const want = "ee4ac73c2bd27756ab82780f27c73a7bc4d3f0bb6acb37e008bc27eccd7e588b"
	if got := Hash([]float32{1, -2}); got != want {
		t.Errorf("Hash = %s, want %s", got, want)
	}
}
