package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/params"
)

func TestEveryFlippedBitIsFound(t *testing.T) {
	b := encoded(t, sample(t, 3))
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if _, err := decode(b); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("bit %d of byte %d flipped: %v", bit, i, err)
			}
			b[i] ^= 1 << bit
		}
	}
}

func TestFileCutAnywhereIsFound(t *testing.T) {
	b := encoded(t, sample(t, 3))
	for n := range b {
		if _, err := decode(b[:n]); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut to %d of %d bytes: %v", n, len(b), err)
		}
	}
	for _, more := range []int{1, 64, 4096} {
		if _, err := decode(append(bytes.Clone(b), make([]byte, more)...)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d bytes longer: %v", more, err)
		}
	}
}

// The size may be right and the file shorter: it was cut after it was measured.
func TestFileShorterThanItsSizeIsCorrupt(t *testing.T) {
	b := encoded(t, sample(t, 3))
	for n := range b {
		if _, err := Decode(bytes.NewReader(b[:n]), int64(len(b))); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestErrorsNameFileSectionAndOffset(t *testing.T) {
	whole := encoded(t, sample(t, 3))
	table, err := parseHeader(whole, int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.ckpt")
	for i := range sectionCount {
		at := table.offset[i]
		for _, tc := range []struct {
			what string
			file []byte
			want string
		}{
			{"first bit", flipped(whole, at), fmt.Sprintf("section %s, offset %d: CRC", sectionNames[i], at)},
			{"checksum", flipped(whole, at+table.length[i]), fmt.Sprintf("section %s, offset %d: CRC", sectionNames[i], at)},
			{"cut", whole[:at+1], fmt.Sprintf("section %s, offset %d: the file has", sectionNames[i], at+1)},
		} {
			if err := os.WriteFile(path, tc.file, 0o644); err != nil {
				t.Fatal(err)
			}
			for name, err := range map[string]error{"Read": second(Read(path)), "Verify": Verify(path)} {
				// A file too short for its sections may be named by the first that does not fit.
				if tc.what == "cut" && err != nil && strings.Contains(err.Error(), "bytes in a file of") {
					continue
				}
				if !errors.Is(err, ErrCorrupt) || !strings.HasPrefix(err.Error(), path+": ") || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s of %s, %s: %v, want %q", tc.what, sectionNames[i], name, err, tc.want)
				}
			}
		}
	}
}

func flipped(b []byte, at int64) []byte {
	b = bytes.Clone(b)
	b[at] ^= 1
	return b
}

func second[A any](_ A, err error) error { return err }

func TestForeignFilesAreRefused(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "text": "hello\n", "short": "MUSTERC", "magic only": magic, "zeros": strings.Repeat("\x00", 4096),
		"png": "\x89PNG\r\n\x1a\n" + strings.Repeat("x", 300), "text mode": "MUSTERC\r\n" + strings.Repeat("\x01", 300),
	} {
		if _, err := decode([]byte(content)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decode([]byte("GIF89a, 120 by 80 pixels")); err == nil || !strings.Contains(err.Error(), "not a Muster checkpoint") {
		t.Errorf("gif: %v", err)
	}
}

func TestNewerVersionIsNotCorrupt(t *testing.T) {
	b := encoded(t, sample(t, 3))
	binary.LittleEndian.PutUint32(b[8:], 2)
	binary.LittleEndian.PutUint32(b[headerBytes-4:], crc32.Checksum(b[:headerBytes-4], castagnoli))
	_, err := decode(b)
	if !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "version 2, this program reads 1") {
		t.Errorf("%v", err)
	}
}

// Names and places of sections are not free, even under a right checksum.
func TestSectionTableHasOneForm(t *testing.T) {
	for name, at := range map[string]int{"count": 12, "name": tableOffset, "offset": tableOffset + entryBytes + 8, "last name": tableOffset + 3*entryBytes + 7} {
		b := encoded(t, sample(t, 3))
		b[at] ^= 0x40
		binary.LittleEndian.PutUint32(b[headerBytes-4:], crc32.Checksum(b[:headerBytes-4], castagnoli))
		if _, err := decode(b); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "section header, offset 16: names or offsets") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Parts of two checkpoints of one job, each with its right checksum, are not a
// checkpoint: momentum of step 4 does not go with parameters of step 3.
func TestMixtureOfTwoCheckpointsIsFound(t *testing.T) {
	a, b := encoded(t, sample(t, 3)), encoded(t, sample(t, 4))
	if len(a) != len(b) {
		t.Fatalf("%d and %d bytes", len(a), len(b))
	}
	table, err := parseHeader(a, int64(len(a)))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sectionCount {
		from := table.offset[i]
		end := from + table.length[i] + crcBytes
		mixed := bytes.Clone(a)
		copy(mixed[from:end], b[from:end])
		if bytes.Equal(mixed, a) {
			continue // the layouts are equal
		}
		_, err := decode(mixed)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "section end") {
			t.Errorf("%s of another step: %v", sectionNames[i], err)
		}
	}
}

func TestContentsThatMakeNoSense(t *testing.T) {
	const one = `[{"name":"w","shape":[2]}]`
	eight := make([]byte, 8)
	for _, tc := range []struct {
		name, meta, layout   string
		parameters, momentum []byte
		want                 string
	}{
		{"meta is not JSON", `{`, one, eight, eight, "section meta"},
		{"meta of another kind", `[1]`, one, eight, eight, "section meta"},
		{"step below 0", `{"step":-1}`, one, eight, eight, "section meta"},
		{"layout is not JSON", `{}`, `x`, eight, eight, "section layout"},
		{"too many values", `{}`, one, make([]byte, 12), make([]byte, 12), "do not have 3 values"},
		{"too few values", `{}`, one, make([]byte, 4), make([]byte, 4), "beside 1 values"},
		{"half a value", `{}`, one, make([]byte, 9), make([]byte, 9), "section layout"},
		{"momentum missing", `{}`, one, eight, nil, "section momentum"},
		{"no shape, no value", `{}`, `[{"name":"w","shape":[0]}]`, nil, nil, "shape [0]"},
		{"negative shape", `{}`, `[{"name":"w","shape":[-1,-2]}]`, eight, eight, "shape [-1 -2]"},
		{"shape overflows", `{}`, `[{"name":"w","shape":[4294967296,4294967296,2]}]`, eight, eight, "shape [4294967296"},
		{"sum is too large", `{}`, `[{"name":"v","shape":[2]},{"name":"w","shape":[2]}]`, eight, eight, "do not have 2 values"},
		{"a name twice", `{}`, `[{"name":"w","shape":[1]},{"name":"w","shape":[1]}]`, eight, eight, "empty or taken"},
		{"no name", `{}`, `[{"shape":[2]}]`, eight, eight, "empty or taken"},
	} {
		_, err := decode(crafted([]byte(tc.meta), []byte(tc.layout), tc.parameters, tc.momentum))
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if _, err := decode(crafted([]byte(`{"later":1}`), []byte(one), eight, eight)); err != nil {
		t.Errorf("an unknown field of meta: %v", err)
	}
}

// A header may claim any length with a right checksum; no memory is taken for it.
func TestClaimedLengthsTakeNoMemory(t *testing.T) {
	for _, n := range []int64{1 << 32, 1 << 62, 1<<63 - 1} {
		for i := range sectionCount {
			var length [sectionCount]int64
			length[i] = n
			b := newTable(length).header()
			b = append(b, make([]byte, 4096)...)
			var err error
			if got := allocated(func() { _, err = decode(b) }); got > 64<<10 || !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s of %d bytes: allocated %d, %v", sectionNames[i], n, got, err)
			}
		}
	}
}

// broken fails as a disk does.
type broken struct{ r *bytes.Reader }

func (b broken) ReadAt(p []byte, offset int64) (int, error) {
	if offset > 200 {
		return 0, errDisk
	}
	return b.r.ReadAt(p, offset)
}

func TestDiskErrorsAreNotCorruption(t *testing.T) {
	b := encoded(t, sample(t, 3))
	_, err := Decode(broken{bytes.NewReader(b)}, int64(len(b)))
	if !errors.Is(err, errDisk) || errors.Is(err, ErrCorrupt) {
		t.Errorf("%v, want %v", err, errDisk)
	}
}

func TestReadMetaLeavesVectorsAlone(t *testing.T) {
	want := sample(t, 3)
	b := encoded(t, want)
	table, _ := parseHeader(b, int64(len(b)))
	b[table.offset[sectionMomentum]] ^= 1
	path := filepath.Join(t.TempDir(), "x.ckpt")
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	meta, layout, err := ReadMeta(path)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, &State{Meta: *meta, Layout: layout}, &State{Meta: want.Meta, Layout: want.Layout})
	if err := Verify(path); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Verify: %v", err)
	}
	if _, err := Read(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if _, err := Read(filepath.Dir(path)); err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("directory: %v", err)
	}
}

func TestLayoutThatDiffersIsNamed(t *testing.T) {
	tensor := func(name string, shape ...int) params.Tensor { return params.Tensor{Name: name, Shape: shape} }
	have := mustLayout(t, tensor("conv1.weight", 96, 3), tensor("conv1.bias", 96))
	for _, tc := range []struct {
		want *params.Layout
		text string
	}{
		{mustLayout(t, tensor("conv1.weight", 64, 3), tensor("conv1.bias", 96)), "tensor conv1.weight is [96 3], the network's is [64 3]"},
		{mustLayout(t, tensor("conv1.weight", 96, 3), tensor("fc.bias", 96)), "tensor 1 is conv1.bias [96], the network's is fc.bias [96]"},
		{mustLayout(t, tensor("conv1.weight", 96, 3)), "tensor 1, conv1.bias [96], is not in the network"},
		{mustLayout(t, tensor("conv1.weight", 96, 3), tensor("conv1.bias", 96), tensor("fc", 2)), "has 2 tensors and lacks fc [2]"},
	} {
		if err := CheckLayout(have, tc.want); !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), tc.text) {
			t.Errorf("%v, want %q", err, tc.text)
		}
	}
	if err := CheckLayout(have, mustLayout(t, have.Tensors()...)); err != nil {
		t.Error(err)
	}
}
