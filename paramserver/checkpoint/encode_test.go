package checkpoint

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"math"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/params"
)

var update = flag.Bool("update", false, "rewrite testdata")

func TestRoundTripKeepsEveryBit(t *testing.T) {
	defer func(was bool) { littleEndian = was }(littleEndian)
	want := sample(t, 3)
	b := encoded(t, want)
	for _, native := range []bool{littleEndian, false} { // false: value by value, as on a big-endian machine
		littleEndian = native
		if again := encoded(t, want); !bytes.Equal(again, b) {
			t.Errorf("native %v: the bytes differ", native)
		}
		got, err := decode(b)
		if err != nil {
			t.Fatalf("native %v: %v", native, err)
		}
		compare(t, got, want)
	}
}

func TestRoundTripOfUnusualStates(t *testing.T) {
	empty := mustLayout(t)
	for name, s := range map[string]*State{
		"nothing at all": {Layout: empty},
		"final":          {Meta: Meta{Step: math.MaxUint64, Samples: math.MaxUint64, Final: true}, Layout: empty},
		"more than a block": {
			Layout:     mustLayout(t, params.Tensor{Name: "w", Shape: []int{blockBytes/4 + 77}}),
			Parameters: make([]float32, blockBytes/4+77), Momentum: make([]float32, blockBytes/4+77),
		},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range s.Parameters {
				s.Parameters[i], s.Momentum[i] = float32(i), -float32(i)
			}
			got, err := decode(encoded(t, s))
			if err != nil {
				t.Fatal(err)
			}
			compare(t, got, s)
		})
	}
}

// The committed file is what version 1 means: it must stay readable, and the
// same state must give these bytes on every machine.
func TestFormatVersion1IsFixed(t *testing.T) {
	const path = "testdata/version1.ckpt"
	s := sample(t, 7)
	b := encoded(t, s)
	if *update {
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Errorf("the encoding of %s has changed: a new format needs a new version", path)
	}
	got, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, got, s)
}

func TestSectionsAreAligned(t *testing.T) {
	b := encoded(t, sample(t, 3))
	table, err := parseHeader(b, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	for i, offset := range table.offset {
		if offset%64 != 0 {
			t.Errorf("section %s begins at %d, want a multiple of 64", sectionNames[i], offset)
		}
	}
	if !strings.HasPrefix(string(b), "MUSTERC\n") || string(b[table.end:table.end+8]) != "MUSTERE\n" {
		t.Error("magic at begin or end is missing")
	}
}

func TestJobIsKeptButForWhiteSpace(t *testing.T) {
	s := sample(t, 1)
	s.Job = json.RawMessage(" { \"b\" : 1,\n\"a\": \"<&>\" } ")
	got, err := decode(encoded(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"b":1,"a":"<&>"}`; string(got.Job) != want {
		t.Errorf("job %s, want %s", got.Job, want)
	}
}

func TestEncodeRefusesWrongStates(t *testing.T) {
	for _, tc := range []struct {
		change func(*State)
		want   string
	}{
		{func(s *State) { s.Layout = nil }, "without a layout"},
		{func(s *State) { s.Parameters = s.Parameters[1:] }, "parameters has 35 values, the layout 36"},
		{func(s *State) { s.Momentum = nil }, "momentum has 0 values, the layout 36"},
		{func(s *State) { s.Job = json.RawMessage("{") }, "not JSON"},
		{func(s *State) { s.Network = strings.Repeat("x", maxText) }, "meta of"},
	} {
		s := sample(t, 1)
		tc.change(s)
		if err := Encode(io.Discard, s); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}

// fails takes n bytes, then fails, or says that it took less than it was given.
type fails struct {
	n     int
	short bool
}

var errDisk = errors.New("disk full")

func (f *fails) Write(b []byte) (int, error) {
	if len(b) <= f.n {
		f.n -= len(b)
		return len(b), nil
	}
	n := f.n
	f.n = 0
	if f.short {
		return n, nil
	}
	return n, errDisk
}

func TestWriteErrorsAreReportedAtEveryByte(t *testing.T) {
	s := sample(t, 3)
	size := len(encoded(t, s))
	for n := range size {
		if err := Encode(&fails{n: n}, s); !errors.Is(err, errDisk) {
			t.Fatalf("disk full after %d bytes: %v", n, err)
		}
		if err := Encode(&fails{n: n, short: true}, s); !errors.Is(err, io.ErrShortWrite) {
			t.Fatalf("short write after %d bytes: %v", n, err)
		}
	}
	if err := Encode(&fails{n: size}, s); err != nil {
		t.Errorf("room for exactly the file: %v", err)
	}
}

// allocated returns the bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestBigVectorsAreNotCopied(t *testing.T) {
	const values = 8 << 20 // 32 MiB each
	s := &State{
		Layout:     mustLayout(t, params.Tensor{Name: "w", Shape: []int{values}}),
		Parameters: make([]float32, values), Momentum: make([]float32, values),
	}
	path := t.TempDir() + "/big"
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := allocated(func() { err = Encode(f, s) }); err != nil || got > 1<<20 {
		t.Errorf("Encode allocated %d bytes, want less than 1 MiB; %v", got, err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if got := allocated(func() { err = Verify(path) }); err != nil || got > 2<<20 {
		t.Errorf("Verify allocated %d bytes, want less than 2 MiB; %v", got, err)
	}
	if got := allocated(func() { _, err = Read(path) }); err != nil || got > 8*values+1<<20 {
		t.Errorf("Read allocated %d bytes, want %d and at most 1 MiB more; %v", got, 8*values, err)
	}
}

func TestFloatsSurviveJSON(t *testing.T) {
	for _, x := range []float64{0, 0.1, -1e300, math.Inf(1), math.Inf(-1), math.NaN()} {
		b, err := json.Marshal(Float(x))
		if err != nil {
			t.Fatal(err)
		}
		var got Float
		if err := json.Unmarshal(b, &got); err != nil || math.Float64bits(float64(got)) != math.Float64bits(x) && x == x {
			t.Errorf("%v as %s reads back as %v, %v", x, b, got, err)
		}
		if x != x && got == got {
			t.Errorf("NaN reads back as %v", got)
		}
	}
	var f Float
	if err := json.Unmarshal([]byte(`"infinite"`), &f); err == nil {
		t.Error(`"infinite" was accepted`)
	}
}
