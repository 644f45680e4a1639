package philox

import "testing"

// The known answers come with the authors' reference implementation (Random123, kat_vectors).
func TestBlockMatchesTheReferenceVectors(t *testing.T) {
	for _, tc := range []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{
			[4]uint32{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
			[2]uint32{0xffffffff, 0xffffffff},
			[4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
		},
		{
			[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
			[2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		},
	} {
		if got := Block(tc.key, tc.counter); got != tc.want {
			t.Errorf("Block(%x, %x) = %x, want %x", tc.key, tc.counter, got, tc.want)
		}
	}
}

func TestStreamReadsBlocksInOrder(t *testing.T) {
	s := New(1<<32|7, Dropout+3, 11, 13)
	for block := range uint32(3) {
		want := Block([2]uint32{7, 1}, [4]uint32{block, uint32(Dropout + 3), 11, 13})
		for i := range want {
			if got := s.Uint32(); got != want[i] {
				t.Fatalf("block %d word %d = %x, want %x", block, i, got, want[i])
			}
		}
	}
}

func TestNext128PassesOverLeftWords(t *testing.T) {
	a, b := New(1, Augment, 2, 3), New(1, Augment, 2, 3)
	a.Uint32()
	b.Next128()
	if got, want := a.Next128(), b.Next128(); got != want {
		t.Errorf("second block = %x, want %x", got, want)
	}
}

func TestPlacesDrawDifferentNumbers(t *testing.T) {
	first := New(1, Permute, 0, 0)
	want := first.Next128()
	for _, s := range []Stream{New(2, Permute, 0, 0), New(1, Init, 0, 0), New(1, Permute, 1, 0), New(1, Permute, 0, 1), New(1<<40|1, Permute, 0, 0)} {
		if got := s.Next128(); got == want {
			t.Errorf("stream %+v draws the numbers of another", s)
		}
	}
}

func TestFloat32StaysBelowOne(t *testing.T) {
	s := New(5, Init, 0, 0)
	sum := 0.0
	const n = 100000
	for range n {
		f := s.Float32()
		if f < 0 || f >= 1 {
			t.Fatalf("Float32 = %v, want in [0, 1)", f)
		}
		sum += float64(f)
	}
	if mean := sum / n; mean < 0.495 || mean > 0.505 {
		t.Errorf("mean of %d draws = %v, want about 0.5", n, mean)
	}
}

func TestIntNIsUniform(t *testing.T) {
	s := New(9, Permute, 0, 0)
	var count [7]int
	const n = 70000
	for range n {
		count[s.IntN(len(count))]++
	}
	for i, c := range count {
		if c < 9600 || c > 10400 {
			t.Errorf("IntN(7) = %d came %d times of %d, want about 10000", i, c, n)
		}
	}
	for range 100 {
		if got := s.IntN(1); got != 0 {
			t.Fatalf("IntN(1) = %d", got)
		}
	}
}

func BenchmarkBlock(b *testing.B) {
	b.SetBytes(16)
	var c [4]uint32
	for b.Loop() {
		c = Block([2]uint32{1, 2}, c)
	}
}
