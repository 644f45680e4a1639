package dataset

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// entry is one entry of an archive; the zero kind is a regular file.
type entry struct {
	name string
	data []byte
	kind byte
}

// archiveOf returns a gzipped tar.
func archiveOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for _, e := range entries {
		head := &tar.Header{Name: e.name, Mode: 0o644, Typeflag: e.kind}
		switch e.kind {
		case 0:
			head.Typeflag, head.Size = tar.TypeReg, int64(len(e.data))
		case tar.TypeSymlink, tar.TypeLink:
			head.Linkname = "/etc/passwd"
		}
		if err := w.WriteHeader(head); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// cifarArchive is CIFAR-10's archive in small: 4 training and 2 test images.
func cifarArchive(t testing.TB) []byte {
	const folder = "cifar-10-batches-bin/"
	return archiveOf(
		t,
		entry{folder, nil, tar.TypeDir},
		entry{name: folder + "data_batch_1.bin", data: binaryOf(someImages(3, 0))},
		entry{name: folder + "data_batch_2.bin", data: binaryOf(someImages(1, 1))},
		entry{name: folder + "batches.meta.txt", data: []byte("airplane\n")},
		entry{name: folder + "readme.html", data: []byte("<html>")},
		entry{name: folder + "test_batch.bin", data: binaryOf(someImages(2, 2))},
	)
}

func TestUnpackWritesTheFiles(t *testing.T) {
	dir := t.TempDir()
	if err := unpack(bytes.NewReader(cifarArchive(t)), "a.tar.gz", dir, 1<<20); err != nil {
		t.Fatal(err)
	}
	s, err := openDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Train.Len() != 4 || s.Test.Len() != 2 {
		t.Errorf("%d+%d images, want 4+2", s.Train.Len(), s.Test.Len())
	}
}

func TestUnpackRefuses(t *testing.T) {
	const folder = "cifar-10-batches-bin/"
	whole := cifarArchive(t)
	for _, tc := range []struct {
		name string
		data []byte
		want string
	}{
		{"no archive", []byte("<html>not found</html>"), "a.tar.gz: offset 22: expected a gzip archive"},
		{"nothing", nil, "a.tar.gz: offset 0: expected a gzip archive"},
		{"a truncated archive", whole[:len(whole)/2], "a.tar.gz: offset "},
		{"an archive without its checksum", whole[:len(whole)-4], "expected the end of the gzip archive"},
		{"a path upwards", archiveOf(t, entry{name: folder + "../../evil", data: []byte("x")}), `expected only files of cifar-10-batches-bin, found "cifar-10-batches-bin/../../evil"`},
		{"an absolute path", archiveOf(t, entry{name: "/tmp/test_batch.bin"}), `found "/tmp/test_batch.bin"`},
		{"another folder", archiveOf(t, entry{name: "other/test_batch.bin"}), `found "other/test_batch.bin"`},
		{"a deeper folder", archiveOf(t, entry{name: folder + "x/test_batch.bin"}), "expected only files of"},
		{"another file", archiveOf(t, entry{name: folder + "run.sh"}), "expected only files of"},
		{"a batch without a number", archiveOf(t, entry{name: folder + "data_batch_x.bin"}), "expected only files of"},
		{"the python format", archiveOf(t, entry{name: "cifar-10-batches-py/data_batch_1"}), "expected only files of"},
		{"a symbolic link", archiveOf(t, entry{folder + "test_batch.bin", nil, tar.TypeSymlink}), "of type '2'"},
		{"a hard link", archiveOf(t, entry{folder + "test_batch.bin", nil, tar.TypeLink}), "of type '1'"},
		{"a device", archiveOf(t, entry{folder + "test_batch.bin", nil, tar.TypeChar}), "of type '3'"},
		{"a file twice", archiveOf(t, entry{name: folder + "test_batch.bin"}, entry{name: folder + "test_batch.bin"}), "expected the 0 bytes of"},
		{"very many entries", archiveOf(t, slices.Repeat([]entry{{folder, nil, tar.TypeDir}}, maxEntries+1)...), "expected at most 64 tar entries"},
		{"more than the limit", archiveOf(t, entry{name: folder + "test_batch.bin", data: make([]byte, 60000)}, entry{name: folder + "data_batch_1.bin", data: make([]byte, 60000)}), "expected files of at most 40000 bytes more"},
	} {
		parent := t.TempDir()
		dir := filepath.Join(parent, "into")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		err := unpack(bytes.NewReader(tc.data), "a.tar.gz", dir, 100000)
		if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
		onlyInside(t, parent)
	}
}

// onlyInside fails if anything but into/cifar-10-batches-bin and regular files in
// it is in parent.
func onlyInside(t *testing.T, parent string) {
	t.Helper()
	err := filepath.WalkDir(parent, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(parent, path)
		if err != nil {
			return err
		}
		switch {
		case rel == "." || rel == "into" || rel == "into/cifar-10-batches-bin":
		case filepath.Dir(rel) == "into/cifar-10-batches-bin" && d.Type().IsRegular():
		default:
			t.Errorf("unpacking made %s of type %v", rel, d.Type())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnpackReportsTheDisk(t *testing.T) {
	err := unpack(bytes.NewReader(cifarArchive(t)), "a.tar.gz", filepath.Join(t.TempDir(), "missing"), 1<<20)
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) {
		t.Errorf("unpacking into a missing directory: %v, want an error of the disk", err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(cifarArchive(f))
	f.Add(archiveOf(f, entry{name: "cifar-10-batches-bin/../x", data: []byte("x")}))
	f.Fuzz(func(t *testing.T, data []byte) {
		parent := t.TempDir()
		dir := filepath.Join(parent, "into")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unpack(bytes.NewReader(data), "a", dir, 1<<16); err != nil && !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%v, want it to wrap ErrCorrupt", err)
		}
		onlyInside(t, parent)
	})
}
