package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/lmittmann/tint"
)

// LogFormats lists the formats NewLogger knows, the default first.
func LogFormats() []string { return []string{"auto", "text", "json"} }

// LogLevels lists the levels NewLogger knows, from the most to the least talkative.
func LogLevels() []string { return []string{"debug", "info", "warn", "error"} }

// NewLogger returns a logger that writes to w.
//
// The format is text, json, or auto ("" too): coloured on a terminal (without
// colour where NO_COLOR is set), else text. The level is one of LogLevels; ""
// is info. Lines are written whole, one Write each, so a logger is safe for
// concurrent use.
func NewLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	least, err := parseLevel(level)
	if err != nil {
		return nil, err
	}
	switch format {
	case "", "auto":
		if !IsTerminal(w) {
			return slog.New(textHandler(w, least)), nil
		}
		return slog.New(tint.NewTextHandler(w, &tint.Options{
			Level:      least,
			TimeFormat: time.TimeOnly,
			NoColor:    os.Getenv("NO_COLOR") != "",
		})), nil
	case "text":
		return slog.New(textHandler(w, least)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: least})), nil
	}
	return nil, fmt.Errorf("log format %q: allowed are %s", format, strings.Join(LogFormats(), ", "))
}

// textHandler is slog's own with times of one second: a training log is read
// by people, and finer times only lengthen the line.
func textHandler(w io.Writer, least slog.Level) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: least,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if len(groups) == 0 && a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				return slog.String(a.Key, a.Value.Time().Format(time.RFC3339))
			}
			return a
		},
	})
}

func parseLevel(level string) (slog.Level, error) {
	switch level {
	case "debug":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("log level %q: allowed are %s", level, strings.Join(LogLevels(), ", "))
}
