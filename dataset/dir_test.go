package dataset

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// write makes a file and the folders above it.
func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeBinary makes a folder in the binary format: files of training images and
// a test file of 3.
func writeBinary(t *testing.T, folder string, trainFiles ...int) {
	t.Helper()
	for i, n := range trainFiles {
		write(t, filepath.Join(folder, "data_batch_"+strconv.Itoa(i+1)+".bin"), binaryOf(someImages(n, i)))
	}
	write(t, filepath.Join(folder, "test_batch.bin"), binaryOf(someImages(3, 50)))
	write(t, filepath.Join(folder, "batches.meta.txt"), []byte("airplane\n"))
}

func TestOpenDirFindsTheFolderInBothPlacesAndFormats(t *testing.T) {
	root := t.TempDir()
	writeBinary(t, filepath.Join(root, "bin", "cifar-10-batches-bin"), 4, 2)
	python := filepath.Join(root, "py", "cifar-10-batches-py")
	write(t, filepath.Join(python, "data_batch_1"), picklePython2(someImages(4, 0), "training batch 1 of 2"))
	write(t, filepath.Join(python, "data_batch_2"), picklePython2(someImages(2, 1), "training batch 2 of 2"))
	write(t, filepath.Join(python, "test_batch"), picklePython2(someImages(3, 50), "testing batch 1 of 1"))
	write(t, filepath.Join(python, "batches.meta"), []byte("not read"))

	fingerprint := ""
	for _, tc := range []struct{ dir, source string }{
		{"bin", "bin/cifar-10-batches-bin"},
		{"bin/cifar-10-batches-bin", "bin/cifar-10-batches-bin"},
		{"py", "py/cifar-10-batches-py"},
		{"py/cifar-10-batches-py", "py/cifar-10-batches-py"},
	} {
		s, err := openDir(filepath.Join(root, tc.dir))
		if err != nil {
			t.Errorf("%s: %v", tc.dir, err)
			continue
		}
		if s.Name != "cifar10" || s.Synthetic || s.Train.Len() != 6 || s.Test.Len() != 3 || len(s.Classes) != 10 || s.Source != filepath.Join(root, tc.source) {
			t.Errorf("%s: set %s (synthetic %v) from %s of %d+%d images", tc.dir, s.Name, s.Synthetic, s.Source, s.Train.Len(), s.Test.Len())
		}
		if fingerprint == "" {
			fingerprint = s.Fingerprint()
		}
		if got := s.Fingerprint(); got != fingerprint {
			t.Errorf("%s: fingerprint %s, want that of the other format, %s", tc.dir, got, fingerprint)
		}
	}
}

func TestTrainingFilesComeInOrderOfTheirNumbers(t *testing.T) {
	dir := t.TempDir()
	writeBinary(t, dir, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1) // 11 files: 10 and 11 after 9
	for _, name := range []string{"data_batch_.bin", "data_batch_x.bin", "data_batch_01.bin", "data_batch_3.bin.old", "data_batch_4"} {
		write(t, filepath.Join(dir, name), []byte("not a batch"))
	}
	s, err := openDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if s.Train.Len() != 11 {
		t.Fatalf("%d training images, want 11", s.Train.Len())
	}
	for i := range 11 {
		if want := someImages(1, i); !bytes.Equal(s.Train.Image(i), want.Pixels) || s.Train.Labels[i] != want.Labels[0] {
			t.Errorf("training image %d is not that of file %d", i, i+1)
		}
	}
}

func TestOpenDirRefuses(t *testing.T) {
	for _, tc := range []struct {
		name string
		make func(t *testing.T, dir string) // fills dir, which is there
		is   error
		want string // DIR stands for the directory
	}{
		{"a directory that is not there", func(t *testing.T, dir string) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
		}, fs.ErrNotExist, "data directory DIR: does not exist"},
		{"a file", func(t *testing.T, dir string) {
			if err := os.Remove(dir); err != nil {
				t.Fatal(err)
			}
			write(t, dir, nil)
		}, ErrNoData, "data directory DIR: is not a directory"},
		{"an empty directory", func(t *testing.T, dir string) {}, ErrNoData, "DIR: no CIFAR-10 there: it has neither a folder cifar-10-batches-bin or cifar-10-batches-py nor files data_batch_1.bin or data_batch_1"},
		{"no test batch", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "data_batch_1.bin"), binaryOf(someImages(1, 0)))
		}, ErrNoData, "data directory DIR: no CIFAR-10 there: file test_batch.bin is missing"},
		{"no training batch", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "test_batch.bin"), binaryOf(someImages(1, 0)))
		}, ErrNoData, "training files data_batch_1.bin and on are missing"},
		{"an empty folder of the right name", func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, "cifar-10-batches-py"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, ErrNoData, "training files data_batch_1 and on are missing"},
		{"a truncated training file", func(t *testing.T, dir string) {
			writeBinary(t, dir, 2, 2)
			write(t, filepath.Join(dir, "data_batch_2.bin"), binaryOf(someImages(2, 0))[:4000])
		}, ErrCorrupt, "DIR/data_batch_2.bin: offset 3073: expected the 3073 bytes of record 1"},
		{"a mislabelled test file", func(t *testing.T, dir string) {
			writeBinary(t, dir, 2)
			write(t, filepath.Join(dir, "test_batch.bin"), bytes.Repeat([]byte{11}, RecordBytes))
		}, ErrCorrupt, "DIR/test_batch.bin: offset 0: expected the label of record 0, 0 to 9, found 11"},
		{"a directory in place of a file", func(t *testing.T, dir string) {
			writeBinary(t, dir, 2)
			if err := os.Mkdir(filepath.Join(dir, "data_batch_2.bin"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, ErrCorrupt, "DIR/data_batch_2.bin: offset 0: expected a regular file"},
		{"a file too great", func(t *testing.T, dir string) {
			writeBinary(t, dir, 2)
			if err := os.Truncate(filepath.Join(dir, "data_batch_1.bin"), maxFileBytes+1); err != nil {
				t.Skip("the file system has no sparse files: " + err.Error())
			}
		}, ErrCorrupt, "DIR/data_batch_1.bin: offset 4294967296: expected the end of the file, found 4294967297 bytes in all"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			tc.make(t, dir)
			_, err := openDir(dir)
			if want := strings.ReplaceAll(tc.want, "DIR", dir); !errors.Is(err, tc.is) || !strings.Contains(err.Error(), want) {
				t.Errorf("openDir = %v, want %q", err, want)
			}
		})
	}
}
