package wire

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

// segment makes one whose values are numbered, or skips the test where the system
// has no such memory.
func segment(t *testing.T, vectors, values int) *Segment {
	t.Helper()
	s, err := NewSegment(vectors, values)
	if err != nil {
		t.Skipf("%s needs memory that processes can share: %v", t.Name(), err)
	}
	t.Cleanup(s.Close)
	for i := range vectors {
		v := s.Vector(i)
		for j := range v {
			v[j] = float32(i*values + j)
		}
	}
	return s
}

func TestWhatOneWritesTheOtherSees(t *testing.T) {
	const values = ChunkBytes/4 + 100
	ours := segment(t, 3, values)
	theirs, err := OpenSegment(ours.Offer())
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close()
	if theirs.Vectors() != 3 {
		t.Fatalf("%d vectors, want 3", theirs.Vectors())
	}
	ours.Vector(1)[7] = -1
	for i := range 3 {
		if !slices.Equal(theirs.Vector(i), ours.Vector(i)) {
			t.Errorf("vector %d differs", i)
		}
		if got, ok := ours.VectorOf(View(ours.Vector(i)[values-1:])); !ok || got != uint32(i) {
			t.Errorf("the last value of vector %d is in vector %d, %v", i, got, ok)
		}
	}
	if _, ok := ours.VectorOf(View(make([]float32, 5))); ok {
		t.Error("other memory was taken for a vector's")
	}

	first, err := theirs.Chunk(2, 0)
	if err != nil {
		t.Fatal(err)
	}
	last, err := theirs.Chunk(2, 1)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, first, ours.Vector(2)[:ChunkBytes/4])
	expect(t, last, ours.Vector(2)[ChunkBytes/4:])
	for _, at := range [][2]uint32{{3, 0}, {2, 2}, {1 << 31, 0}, {0, 1 << 31}} {
		if _, err := theirs.Chunk(at[0], at[1]); !errors.Is(err, ErrMalformed) {
			t.Errorf("chunk %d of vector %d: %v, want ErrMalformed", at[1], at[0], err)
		}
	}
}

func TestMemoryLivesAsLongAsItsViews(t *testing.T) {
	ours := segment(t, 1, 5000)
	theirs, err := OpenSegment(ours.Offer())
	if err != nil {
		t.Fatal(err)
	}
	unmapped := false
	unmap := theirs.unmap
	theirs.unmap = func() { unmapped = true; unmap() }
	a, err := theirs.Chunk(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := theirs.Chunk(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	a.Free()
	if unmapped {
		t.Fatal("the memory was given back while a view was held")
	}
	expect(t, b, ours.Vector(0))
	b.Free()
	if !unmapped {
		t.Error("the memory was not given back with its last view")
	}
	if _, err := theirs.Chunk(0, 0); !errors.Is(err, ErrNotShared) {
		t.Errorf("a view of what was given back: %v, want ErrNotShared", err)
	}
}

// A peer names a file of any process on this machine: what isn't the memory that
// was offered is not mapped.
func TestOnlyTheMemoryThatWasOfferedIsMapped(t *testing.T) {
	ours := segment(t, 2, 5000)
	plain, err := os.Create(filepath.Join(t.TempDir(), "plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Write(ours.bytes); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		change func(o *musterv1.SharedMemory)
		why    string
	}{
		"another machine":     {func(o *musterv1.SharedMemory) { o.Host = "elsewhere" }, "the other process is elsewhere"},
		"another token":       {func(o *musterv1.SharedMemory) { o.Token[3]++ }, "not the memory that was offered"},
		"no token":            {func(o *musterv1.SharedMemory) { o.Token = nil }, "a token of 0 bytes"},
		"more vectors":        {func(o *musterv1.SharedMemory) { o.Vectors++ }, "not of "},
		"longer vectors":      {func(o *musterv1.SharedMemory) { o.Values += 4096 }, "not of "},
		"no vectors":          {func(o *musterv1.SharedMemory) { o.Vectors = 0 }, "0 vectors"},
		"no values":           {func(o *musterv1.SharedMemory) { o.Values = 0 }, "of 0 values"},
		"too much to be true": {func(o *musterv1.SharedMemory) { o.Vectors, o.Values = 1<<31, 1<<62 }, "vectors of"},
		"no such process":     {func(o *musterv1.SharedMemory) { o.Pid = 1 << 30 }, "no such file"},
		"no such file":        {func(o *musterv1.SharedMemory) { o.Fd = 1 << 20 }, "no such file"},
		"a file of a name":    {func(o *musterv1.SharedMemory) { o.Fd = uint32(plain.Fd()) }, "is not such memory"},
	} {
		o := proto.Clone(ours.Offer()).(*musterv1.SharedMemory)
		tc.change(o)
		s, err := OpenSegment(o)
		if !errors.Is(err, ErrNotShared) || !strings.Contains(err.Error(), tc.why) {
			t.Errorf("%s: %v, want ErrNotShared and %q", name, err, tc.why)
		}
		if s != nil {
			s.Close()
		}
	}
	for _, size := range [][2]int{{0, 1}, {1, 0}, {-1, 5}, {5, -1}, {1 << 40, 1 << 40}} {
		if s, err := NewSegment(size[0], size[1]); !errors.Is(err, ErrNotShared) {
			t.Errorf("%d vectors of %d values: %v, want ErrNotShared", size[0], size[1], err)
			if s != nil {
				s.Close()
			}
		}
	}
}

// TestReadinessAloneIsSentOfSharedMemory compares with the generated code.
func TestReadinessAloneIsSentOfSharedMemory(t *testing.T) {
	s := segment(t, 1, 5000)
	view := func() *Payload {
		p, err := s.Chunk(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, g := range []Gradient{{Step: 300, First: 2, End: 4, Chunk: 82, Vector: 3}, {End: 1}} {
		g.Shared, g.Payload = true, view()
		gradient := &musterv1.ExchangeRequest{Message: &musterv1.ExchangeRequest_Gradient{Gradient: &musterv1.GradientChunk{
			Step: g.Step, Node: &musterv1.Node{First: g.First, End: g.End}, Chunk: g.Chunk, Encoding: musterv1.Encoding_ENCODING_SHARED, Vector: g.Vector,
		}}}
		parameters := &musterv1.ExchangeResponse{Message: &musterv1.ExchangeResponse_Parameters{Parameters: &musterv1.ParametersChunk{
			Step: g.Step, Chunk: g.Chunk, Encoding: musterv1.Encoding_ENCODING_SHARED,
		}}}
		up, down := golden(t, gradient), golden(t, parameters)
		if got := marshalled(t, &Request{Gradient: g}); !slices.Equal(got, up) {
			t.Errorf("gradient %+v: %x, want %x", g, got, up)
		}
		if got := marshalled(t, &Response{Parameters: Parameters{Step: g.Step, Chunk: g.Chunk, Payload: view(), Shared: true}}); !slices.Equal(got, down) {
			t.Errorf("parameters of %+v: %x, want %x", g, got, down)
		}
		if n := s.users.Load(); n != 1 {
			t.Errorf("%d views are held of what was sent", n-1)
		}
		g.Payload = nil
		for first := range 40 {
			var r Request
			if err := (Codec{}).Unmarshal(split(up, first, 3), &r); err != nil || r.Message != nil || r.Gradient != g {
				t.Errorf("cut at %d: %+v, %v, want %+v", first, r, err, g)
			}
			var p Response
			if err := (Codec{}).Unmarshal(split(down, first, 3), &p); err != nil || p.Message != nil || p.Parameters != (Parameters{Step: g.Step, Chunk: g.Chunk, Shared: true}) {
				t.Errorf("cut at %d: %+v, %v", first, p, err)
			}
		}
		if got := RequestOf(gradient); got.Message != nil || got.Gradient != g {
			t.Errorf("RequestOf = %+v, want %+v", got, g)
		}
		if got := ResponseOf(parameters); got.Message != nil || got.Parameters != (Parameters{Step: g.Step, Chunk: g.Chunk, Shared: true}) {
			t.Errorf("ResponseOf = %+v", got)
		}
	}
}
