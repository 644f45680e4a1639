// Package logs makes the log that a program was asked for by --log-format and
// --log-level, over a console that a progress line can share.
package logs

import (
	"io"
	"log/slog"

	"github.com/spf13/pflag"

	"github.com/muster-train/muster/cmd/internal/settings"
	"github.com/muster-train/muster/internal/telemetry"
)

// Options are the flags' values.
type Options struct{ Format, Level string }

// Define defines the flags.
func (o *Options) Define(flags *pflag.FlagSet) {
	settings.Group(flags, "Log", func(fs *pflag.FlagSet) {
		settings.Enum(fs, &o.Format, "log-format", "auto", telemetry.LogFormats(), "form of log lines on standard error")
		settings.Enum(fs, &o.Level, "log-level", "info", telemetry.LogLevels(), "least level of log lines")
	})
}

// Open returns the log, and the console it writes to.
func (o *Options) Open(stderr io.Writer) (*slog.Logger, *telemetry.Console, error) {
	console := telemetry.NewConsole(stderr)
	log, err := telemetry.NewLogger(console, o.Format, o.Level)
	return log, console, settings.Usage(err)
}
