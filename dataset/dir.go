package dataset

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// maxFileBytes bounds one batch file: a million records and more, where
// CIFAR-10's own files hold 10,000.
const maxFileBytes = 4 << 30

// format is one of the two forms that CIFAR-10 comes in.
type format struct {
	folder string // its usual name
	suffix string // of batch files
	append func(im *Images, file string, data []byte) error
}

var (
	binaryFormat = format{"cifar-10-batches-bin", ".bin", appendBinary}
	pythonFormat = format{"cifar-10-batches-py", "", appendPython}
)

// find returns the folder and format of the CIFAR-10 that dir is or holds.
func find(dir string) (string, format, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", format{}, fmt.Errorf("data directory %s: does not exist: %w", dir, fs.ErrNotExist)
	case err != nil:
		return "", format{}, fmt.Errorf("data directory %s: %w", dir, err)
	case !info.IsDir():
		return "", format{}, fmt.Errorf("data directory %s: is not a directory: %w", dir, ErrNoData)
	}
	for _, f := range []format{binaryFormat, pythonFormat} {
		folder := filepath.Join(dir, f.folder)
		if info, err := os.Stat(folder); err == nil && info.IsDir() {
			return folder, f, nil
		}
	}
	for _, f := range []format{binaryFormat, pythonFormat} {
		names, err := f.trainFiles(dir)
		if err != nil {
			return "", format{}, fmt.Errorf("data directory %s: %w", dir, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "test_batch"+f.suffix)); err == nil || len(names) > 0 {
			return dir, f, nil
		}
	}
	return "", format{}, fmt.Errorf("data directory %s: %w: it has neither a folder %s or %s nor files data_batch_1.bin or data_batch_1",
		dir, ErrNoData, binaryFormat.folder, pythonFormat.folder)
}

// trainFiles returns the names of the training files in a folder: data_batch_,
// a number and the suffix, by rising number.
func (f format) trainFiles(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	numbers := make(map[string]int)
	var names []string
	for _, e := range entries {
		middle, ok := strings.CutPrefix(e.Name(), "data_batch_")
		if !ok {
			continue
		}
		if middle, ok = strings.CutSuffix(middle, f.suffix); !ok {
			continue
		}
		if n, err := parseCount(middle); err == nil && strconv.Itoa(n) == middle {
			numbers[e.Name()] = n
			names = append(names, e.Name())
		}
	}
	slices.SortFunc(names, func(a, b string) int { return numbers[a] - numbers[b] })
	return names, nil
}

// openDir reads the CIFAR-10 that dir is or holds.
func openDir(dir string) (*Set, error) {
	folder, f, err := find(dir)
	if err != nil {
		return nil, err
	}
	names, err := f.trainFiles(folder)
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w", folder, err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("data directory %s: %w: training files data_batch_1%s and on are missing", folder, ErrNoData, f.suffix)
	}
	set := &Set{Name: "cifar10", Classes: cifarClasses(), Source: folder}
	if set.Train, err = f.read(folder, names); err != nil {
		return nil, err
	}
	if set.Test, err = f.read(folder, []string{"test_batch" + f.suffix}); err != nil {
		return nil, err
	}
	return set, nil
}

// read returns the images of some files, one after the other.
func (f format) read(folder string, names []string) (*Images, error) {
	total := int64(0)
	for _, name := range names {
		size, err := batchBytes(folder, name)
		if err != nil {
			return nil, err
		}
		total += size
	}
	im := &Images{Side: Side, Pixels: make([]byte, 0, total), Labels: make([]uint8, 0, total/RecordBytes)}
	for _, name := range names {
		path := filepath.Join(folder, name)
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		if err := f.append(im, path, data); err != nil {
			return nil, err
		}
	}
	return im, nil
}

// batchBytes returns the length of a batch file, if it is one that may be read.
func batchBytes(folder, name string) (int64, error) {
	path := filepath.Join(folder, name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, fmt.Errorf("data directory %s: %w: file %s is missing", folder, ErrNoData, name)
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, corrupt(path, 0, "expected a regular file, found one of mode %v", info.Mode())
	case info.Size() > maxFileBytes:
		return 0, corrupt(path, maxFileBytes, "expected the end of the file, found %d bytes in all", info.Size())
	}
	return info.Size(), nil
}
