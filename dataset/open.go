package dataset

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
)

// OpenOptions says how to come by data. The zero value is ready for use.
type OpenOptions struct {
	// Archive is what to download; its empty fields are those of CIFAR10, so a
	// mirror is named by its URL alone.
	Archive Archive
	// CacheDir is where downloads are kept; "": the folder muster in the user's
	// cache directory.
	CacheDir string
	// Progress, if not nil, is told how many bytes of how many are there, on the
	// caller's goroutine; total is -1 while unknown.
	Progress func(done, total int64)
	// Logger is told of waiting, resuming and falling back; nil: slog.Default.
	Logger *slog.Logger
	// Client does the requests; nil: one that heeds the proxy variables.
	Client *http.Client
}

func (o OpenOptions) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.Default()
	}
	return o.Logger
}

// cacheDir returns where downloads are kept.
func (o OpenOptions) cacheDir() (string, error) {
	if o.CacheDir != "" {
		return o.CacheDir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory to keep CIFAR-10 in; set MUSTER_DATA to its folder: %w", err)
	}
	return filepath.Join(dir, "muster"), nil
}

// The sources that are words; any other is a directory.
const (
	sourceAuto      = "auto"
	sourceCIFAR10   = "cifar10"
	sourceSynthetic = "synthetic"
)

// Open returns the data of a source:
//
//	auto       what MUSTER_DATA names, else CIFAR-10 from the cache directory,
//	           else from the network into the cache directory; if the network
//	           doesn't give it, one warning and the synthetic images
//	cifar10    the same without the last resort: an error instead
//	synthetic  the built-in images
//	DIR        CIFAR-10 in DIR: the folder that holds cifar-10-batches-bin or
//	           cifar-10-batches-py, or that folder itself
//
// Errors about what is on disk wrap ErrCorrupt, ErrNoData or an fs error, those
// about the network ErrUnreachable. An address that doesn't answer is given up
// after 10 seconds.
func Open(ctx context.Context, source string, o OpenOptions) (*Set, error) {
	switch source {
	case sourceSynthetic:
		return Synthetic(), nil
	case sourceAuto, sourceCIFAR10:
		return openAuto(ctx, source, o)
	case "":
		return nil, errors.New(`data "": must be auto, cifar10, synthetic or a directory`)
	}
	set, err := openDir(source)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; data must be auto, cifar10, synthetic or a directory", err)
	}
	return set, err
}

// FetchError says that CIFAR-10 was to be downloaded and could not be, by no
// fault of who asked: another try may do.
type FetchError struct{ Err error }

// Error returns the text of the error within.
func (e *FetchError) Error() string { return e.Err.Error() }

// Unwrap returns the error within.
func (e *FetchError) Unwrap() error { return e.Err }

func openAuto(ctx context.Context, source string, o OpenOptions) (*Set, error) {
	switch env := os.Getenv("MUSTER_DATA"); {
	case env == "" || env == sourceAuto || env == sourceSynthetic && source == sourceCIFAR10:
	case env == sourceCIFAR10:
		source = env
	case env == sourceSynthetic:
		return Synthetic(), nil
	default:
		set, err := openDir(env)
		if err != nil {
			return nil, fmt.Errorf("MUSTER_DATA: %w", err)
		}
		return set, nil
	}
	dir, err := o.cacheDir()
	if err != nil {
		return nil, err
	}
	_, _, err = find(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrNoData) {
		if err := checkURL(o.Archive.or(CIFAR10).URL); err != nil {
			return nil, fmt.Errorf("fetch CIFAR-10: %w", err)
		}
		if err = Fetch(ctx, dir, o); err != nil {
			err = &FetchError{err}
		}
	}
	if source == sourceAuto && errors.Is(err, ErrUnreachable) && ctx.Err() == nil {
		o.logger().Warn("CIFAR-10 IS NOT HERE AND CAN'T BE FETCHED: going on with the built-in synthetic images, which are not CIFAR-10; no result will be one on CIFAR-10",
			"err", err, "cure", "set MUSTER_DATA or --data to a folder with cifar-10-batches-bin")
		return Synthetic(), nil
	}
	if err != nil {
		return nil, err
	}
	return openDir(dir)
}
