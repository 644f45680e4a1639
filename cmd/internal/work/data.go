package work

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"syscall"

	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/dataset"
	"github.com/muster-train/muster/internal/telemetry"
)

// DataOptions are the flags that say where images come from.
type DataOptions struct {
	Source  string
	Address string
	Cache   string
}

// Define defines the flags.
func (o *DataOptions) Define(flags *pflag.FlagSet) {
	settings.Group(flags, "Data", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.Source, "data", "auto", "`source` of images: auto (CIFAR-10 from $MUSTER_DATA, the cache or the network, else synthetic), cifar10, synthetic, or a directory")
	})
	// MUSTER_DATA names the directory that --data auto looks in first.
	settings.NoEnv(flags, "data")
	o.DefineDownload(flags)
}

// DefineDownload defines those that concern a download alone.
func (o *DataOptions) DefineDownload(flags *pflag.FlagSet) {
	settings.Group(flags, "Data", func(fs *pflag.FlagSet) {
		fs.StringVar(&o.Address, "data-url", "", "`URL` of cifar-10-binary.tar.gz (default: its home)")
		fs.StringVar(&o.Cache, "data-cache", "", "`directory` that downloads are kept in (default: muster in the user's cache directory)")
	})
}

// OpenOptions are what package dataset needs, with a download shown on console
// or told to log until the function returned with them is called.
func (o *DataOptions) OpenOptions(console *telemetry.Console, log *slog.Logger) (dataset.OpenOptions, func()) {
	download := telemetry.NewDownload(console, log, telemetry.Auto, "CIFAR-10")
	return dataset.OpenOptions{
		Archive: dataset.Archive{URL: o.Address}, CacheDir: o.Cache, Logger: log, Progress: download.Report,
	}, download.Close
}

// Open reads the data. What the user named and is not there, not whole or not to
// be written to is wrong use; a download that fails is a fault, which may pass.
func (o *DataOptions) Open(ctx context.Context, console *telemetry.Console, log *slog.Logger) (*dataset.Set, error) {
	options, done := o.OpenOptions(console, log)
	defer done()
	set, err := dataset.Open(ctx, o.Source, options)
	if err != nil {
		var fetch *dataset.FetchError
		mayNot := errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
		if ctx.Err() != nil || errors.As(err, &fetch) && !mayNot {
			return nil, err
		}
		return nil, settings.Usage(err)
	}
	return set, nil
}
