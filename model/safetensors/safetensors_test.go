package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/model/params"
)

func layout(t testing.TB, tensors ...params.Tensor) *params.Layout {
	t.Helper()
	l, err := params.NewLayout(tensors)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func two(t testing.TB) *params.Layout {
	return layout(t, params.Tensor{Name: "fc.weight", Shape: []int{2, 3}}, params.Tensor{Name: "fc.bias", Shape: []int{2}})
}

var values = []float32{1, -2, 3.5, float32(math.Copysign(0, -1)), 5e-45, float32(math.Inf(1)), 7, 8}

// edited is golden with a change to its header, whose length is set anew.
func edited(from, to string) string {
	n := binary.LittleEndian.Uint64([]byte(golden))
	header := strings.Replace(golden[8:8+n], from, to, 1)
	return string(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))) + header + golden[8+n:]
}

func write(t testing.TB, l *params.Layout, v []float32, metadata map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, l, v, metadata); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// golden is the file of two, values and one line of metadata, byte by byte.
const golden = "\xa0\x00\x00\x00\x00\x00\x00\x00" +
	`{"__metadata__":{"format":"pt"},"fc.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"fc.bias":{"dtype":"F32","shape":[2],"data_offsets":[24,32]}}   ` +
	"\x00\x00\x80?\x00\x00\x00\xc0\x00\x00`@\x00\x00\x00\x80\x04\x00\x00\x00\x00\x00\x80\x7f\x00\x00\xe0@\x00\x00\x00A"

func TestTheBytesAreTheFormats(t *testing.T) {
	got := write(t, two(t), values, map[string]string{"format": "pt"})
	if string(got) != golden {
		t.Errorf("wrote\n%q, want\n%q", got, golden)
	}
	if n := binary.LittleEndian.Uint64(got); n%8 != 0 {
		t.Errorf("the header has %d bytes, want a multiple of 8", n)
	}
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	metadata := map[string]string{"a": "b", "quote\"": "line\n"}
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, write(t, two(t), values, metadata), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(f.Metadata) != fmt.Sprint(metadata) {
		t.Errorf("metadata %v, want %v", f.Metadata, metadata)
	}
	got, err := f.Vector(two(t))
	if err != nil {
		t.Fatal(err)
	}
	for i := range values {
		if math.Float32bits(got[i]) != math.Float32bits(values[i]) {
			t.Errorf("value %d is %v, want %v", i, got[i], values[i])
		}
	}
	// By name, not by place.
	other := layout(t, params.Tensor{Name: "fc.bias", Shape: []int{2}}, params.Tensor{Name: "fc.weight", Shape: []int{2, 3}})
	if got, err := f.Vector(other); err != nil || !slices.Equal(got[:2], values[6:]) {
		t.Errorf("in another order: %v, %v; want the bias first", got, err)
	}
}

func TestOtherTensorsAreRefused(t *testing.T) {
	f, err := Parse([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	half, err := Parse([]byte(strings.Replace(edited(`[2,3]`, `[4,3]`), "F32", "F16", 1)))
	if err != nil {
		t.Fatal(err)
	}
	weight := params.Tensor{Name: "fc.weight", Shape: []int{2, 3}}
	for _, tc := range []struct {
		file *File
		want *params.Layout
		says string
	}{
		{f, layout(t, weight), `"fc.bias" is not in the network`},
		{f, layout(t, weight, params.Tensor{Name: "fc.bias", Shape: []int{2}}, params.Tensor{Name: "x", Shape: []int{1}}), `"x" is missing`},
		{f, layout(t, params.Tensor{Name: "fc.weight", Shape: []int{3, 2}}, params.Tensor{Name: "fc.bias", Shape: []int{2}}), `"fc.weight" has shape [2 3], the network's is [3 2]`},
		{half, layout(t, params.Tensor{Name: "fc.weight", Shape: []int{4, 3}}, params.Tensor{Name: "fc.bias", Shape: []int{2}}), `"fc.weight" has type F16, F32 is needed`},
	} {
		if _, err := tc.file.Vector(tc.want); !errors.Is(err, ErrLayout) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%v, want %q", err, tc.says)
		}
	}
}

func TestDamagedFilesAreRefused(t *testing.T) {
	for name, damaged := range map[string]string{
		"empty":               "",
		"short":               golden[:6],
		"header cut":          golden[:40],
		"values cut":          golden[:len(golden)-1],
		"values too many":     golden + "x",
		"huge header":         "\xff\xff\xff\xff\xff\xff\xff\x7f{}",
		"no object":           "\x02\x00\x00\x00\x00\x00\x00\x00[]",
		"a name twice":        edited("fc.bias", "fc.weight"),
		"metadata twice":      edited(`"fc.bias":{"dtype":"F32","shape":[2],"data_offsets":[24,32]}`, `"__metadata__":{"a":"b"}`),
		"unknown type":        edited("F32", "F31"),
		"overlap":             edited("[24,32]", "[16,24]"),
		"backwards":           edited("[24,32]", "[32,24]"),
		"beyond the end":      edited("[24,32]", "[32,40]"),
		"shape of other size": edited("[2,3]", "[2,4]"),
		"negative dimension":  edited("[2,3]", "[-2,-3]"),
		"enormous dimension":  edited("[2,3]", "[9223372036854775807,9223372036854775807]"),
		"after the brace":     edited("}} ", "}}}"),
	} {
		if damaged == golden {
			t.Fatalf("%s: nothing was changed", name)
		}
		if f, err := Parse([]byte(damaged)); !errors.Is(err, ErrCorrupt) || f != nil {
			t.Errorf("%s: %v, %v; want ErrCorrupt", name, f, err)
		}
	}
}

func TestWriteRefusesWhatDoesNotFit(t *testing.T) {
	if err := Write(&bytes.Buffer{}, two(t), values[:3], nil); err == nil {
		t.Error("3 values of 8 are written")
	}
	if err := Write(&bytes.Buffer{}, layout(t, params.Tensor{Name: metadataKey, Shape: []int{1}}), values[:1], nil); err == nil {
		t.Error("a tensor that would be taken for metadata is written")
	}
	if err := Write(limited{}, two(t), values, nil); err == nil {
		t.Error("a full disk is not noticed")
	}
}

// limited is a disk without space.
type limited struct{}

func (limited) Write([]byte) (int, error) { return 0, errors.New("no space") }

func TestThePythonPackageAgrees(t *testing.T) {
	python := os.Getenv("MUSTER_PYTHON")
	if python == "" {
		python = "python3"
	}
	if err := exec.Command(python, "-c", "import safetensors.numpy").Run(); err != nil {
		t.Skipf("Python's safetensors is not installed: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ours"), []byte(golden), 0o644); err != nil {
		t.Fatal(err)
	}
	script := `
from safetensors.numpy import load_file, save_file
t = load_file("ours")
assert list(t["fc.weight"].shape) == [2, 3] and t["fc.weight"][0][2] == 3.5, t
save_file({k: t[k] * 2 for k in t}, "theirs", {"a": "b"})`
	cmd := exec.Command(python, "-c", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, err := Read(filepath.Join(dir, "theirs"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := f.Vector(two(t))
	if err != nil || v[2] != 7 || v[7] != 16 || f.Metadata["a"] != "b" {
		t.Errorf("read %v, %v, %v", v, f.Metadata, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00{}"))
	f.Add([]byte(golden[:50]))
	l := two(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(data)
		if err != nil {
			return
		}
		_, _ = file.Vector(l) // must not panic
		for _, name := range file.Names() {
			if name == "" && len(file.data) == 0 {
				continue
			}
			if e := file.tensors[name]; e.Offsets[1] > int64(len(file.data)) {
				t.Fatalf("%q ends outside the file", name)
			}
		}
	})
}
