package checkpoint

import (
	"io"
	"testing"

	"github.com/muster-train/muster/model/params"
)

// alexnet returns a state of alexnet's size: 86.5 MB of parameters and as much of momentum.
func alexnet(b *testing.B) *State {
	const values = 21_622_154
	s := &State{
		Layout:     mustLayout(b, params.Tensor{Name: "w", Shape: []int{values}}),
		Parameters: params.NewVector(values), Momentum: params.NewVector(values),
	}
	for i := range values {
		s.Parameters[i], s.Momentum[i] = float32(i), -float32(i)
	}
	b.SetBytes(8 * values)
	return s
}

func BenchmarkEncode(b *testing.B) {
	s := alexnet(b)
	for b.Loop() {
		if err := Encode(io.Discard, s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	s := alexnet(b)
	store, err := Open(b.TempDir(), 1, nil)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s.Step++
		if _, err := store.Save(b.Context(), s, false); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	store, err := Open(b.TempDir(), 1, nil)
	if err != nil {
		b.Fatal(err)
	}
	path, err := store.Save(b.Context(), alexnet(b), false)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Read(path); err != nil {
			b.Fatal(err)
		}
	}
}
