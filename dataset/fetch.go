package dataset

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// partName is the archive while it is being downloaded; what is there of it
// after an interruption is used by the next attempt.
const partName = "cifar-10-binary.tar.gz.part"

// unpackedLimit bounds what an archive may unpack to: CIFAR-10's is 184 MB.
const unpackedLimit = 1 << 29

// Fetch downloads CIFAR-10 into dir/cifar-10-batches-bin, unless dir has
// CIFAR-10 already. The archive must have both checksums and only the records
// it should before anything appears under that name. An interrupted download is
// taken up where it ended. Processes that fetch into the same dir wait for each
// other, where the system has file locks.
func Fetch(ctx context.Context, dir string, o OpenOptions) error {
	archive := o.Archive.or(CIFAR10)
	if err := checkURL(archive.URL); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("fetch CIFAR-10: %w", err)
	}
	unlock, err := lockDir(ctx, dir, func() {
		o.logger().Info("waiting for another process that fetches CIFAR-10", "dir", dir)
	})
	if err != nil {
		return fmt.Errorf("fetch CIFAR-10: lock %s: %w", dir, err)
	}
	defer unlock()
	if _, _, err := find(dir); err == nil {
		return nil
	}

	part := filepath.Join(dir, partName)
	for {
		resumed, err := download(ctx, part, archive.URL, o)
		if err != nil {
			return fmt.Errorf("fetch CIFAR-10 from %s: %w", archive.URL, err)
		}
		err = verify(part, archive)
		if err == nil {
			break
		}
		if !errors.Is(err, ErrCorrupt) {
			return fmt.Errorf("fetch CIFAR-10: %w", err)
		}
		// A whole file that is wrong is of no use to a later attempt.
		if rmErr := os.Remove(part); rmErr != nil {
			return fmt.Errorf("fetch CIFAR-10: %w", rmErr)
		}
		if !resumed {
			return fmt.Errorf("fetch CIFAR-10 from %s: %w", archive.URL, err)
		}
		o.logger().Warn("the resumed download of CIFAR-10 has a wrong checksum; starting anew", "err", err)
	}
	if err := install(dir, part); err != nil {
		return fmt.Errorf("fetch CIFAR-10: %w", err)
	}
	return os.Remove(part)
}

// verify compares the checksums of a downloaded file.
func verify(path string, archive Archive) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	m, s := md5.New(), sha256.New()
	n, err := io.Copy(io.MultiWriter(m, s), f)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	if got := hex.EncodeToString(s.Sum(nil)); got != archive.SHA256 {
		return corrupt(path, 0, "expected sha256 %s, found %s over %d bytes", archive.SHA256, got, n)
	}
	if got := hex.EncodeToString(m.Sum(nil)); got != archive.MD5 {
		return corrupt(path, 0, "expected md5 %s, found %s over %d bytes", archive.MD5, got, n)
	}
	return nil
}

// install unpacks an archive beside its final place, reads it all, and gives it
// its name in one step.
func install(dir, archive string) error {
	work, err := os.MkdirTemp(dir, ".unpack-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // a leftover is harmless and the next error tells more
	f, err := os.Open(archive)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unpack(f, archive, work, unpackedLimit); err != nil {
		return err
	}
	if _, err := openDir(work); err != nil {
		return fmt.Errorf("unpacked archive: %w", err)
	}
	if err := os.Rename(filepath.Join(work, binaryFormat.folder), filepath.Join(dir, binaryFormat.folder)); err != nil {
		return err
	}
	return syncDir(dir)
}
