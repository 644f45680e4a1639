package dataset

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// maxEntries bounds the entries of an archive: CIFAR-10's has nine.
const maxEntries = 64

// counter counts the bytes that were read through it: the offset for messages.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// unpack writes the files of a gzipped tar of CIFAR-10 in the binary format into
// dir/cifar-10-batches-bin. It refuses entries of any other name or kind, so
// nothing is ever written elsewhere, and more than limit bytes in all.
func unpack(r io.Reader, archive, dir string, limit int64) error {
	from := &counter{r: r}
	wrong := func(format string, args ...any) error { return corrupt(archive, from.n, format, args...) }
	zip, err := gzip.NewReader(from)
	if err != nil {
		return wrong("expected a gzip archive: %v", err)
	}
	folder := filepath.Join(dir, binaryFormat.folder)
	if err := os.Mkdir(folder, 0o755); err != nil {
		return err
	}
	entries := tar.NewReader(zip)
	for n := 1; ; n++ {
		head, err := entries.Next()
		if err == io.EOF {
			return finish(zip, folder, wrong)
		}
		if err != nil {
			return wrong("expected the head of a tar entry: %v", err)
		}
		if n > maxEntries {
			return wrong("expected at most %d tar entries", maxEntries)
		}
		name, ok := entryName(head)
		if !ok {
			return wrong("expected only files of %s, found %.80q of type %q", binaryFormat.folder, head.Name, head.Typeflag)
		}
		if name == "" {
			continue
		}
		if head.Size > limit {
			return wrong("expected files of at most %d bytes more, found %.80q of %d", limit, head.Name, head.Size)
		}
		limit -= head.Size
		if err := writeFile(filepath.Join(folder, name), entries); err != nil {
			var onDisk *os.PathError
			if errors.As(err, &onDisk) && !errors.Is(err, os.ErrExist) {
				return err
			}
			return wrong("expected the %d bytes of %.80q: %v", head.Size, head.Name, err)
		}
	}
}

// finish reads what is after the tar's end, so that gzip's checksum is compared.
func finish(zip io.Reader, folder string, wrong func(string, ...any) error) error {
	n, err := io.Copy(io.Discard, io.LimitReader(zip, 1<<20))
	if err != nil {
		return wrong("expected the end of the gzip archive: %v", err)
	}
	if n == 1<<20 {
		return wrong("expected the end of the gzip archive after the end of the tar")
	}
	return syncDir(folder)
}

// entryName returns the name of the file to write, "" for an entry without one,
// and whether the entry may be there.
func entryName(head *tar.Header) (string, bool) {
	if head.Typeflag == tar.TypeXGlobalHeader {
		return "", true
	}
	clean := strings.TrimPrefix(head.Name, "./")
	if head.Typeflag == tar.TypeDir {
		return "", clean == "" || strings.TrimSuffix(clean, "/") == binaryFormat.folder
	}
	folder, name := path.Split(clean)
	if head.Typeflag != tar.TypeReg || folder != binaryFormat.folder+"/" {
		return "", false
	}
	switch name {
	case "test_batch.bin", "batches.meta.txt", "readme.html":
		return name, true
	}
	middle, ok := strings.CutPrefix(name, "data_batch_")
	if !ok {
		return "", false
	}
	middle, ok = strings.CutSuffix(middle, ".bin")
	_, err := parseCount(middle)
	return name, ok && err == nil
}

// writeFile makes a new file of r's bytes, safe on disk.
func writeFile(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}
