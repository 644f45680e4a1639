package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"strings"
	"testing"
)

func TestLoggerFormats(t *testing.T) {
	for _, tc := range []struct {
		format string
		json   bool
	}{
		{"", false},
		{"auto", false},
		{"text", false},
		{"json", true},
	} {
		var out bytes.Buffer
		log, err := NewLogger(&out, tc.format, "info")
		if err != nil {
			t.Errorf("%q: %v", tc.format, err)
			continue
		}
		log.Info("hello", "step", 3)
		if got := json.Valid(out.Bytes()); got != tc.json {
			t.Errorf("%q: valid JSON %v, want %v: %s", tc.format, got, tc.json, out.String())
		}
		if strings.Contains(out.String(), "\x1b") {
			t.Errorf("%q: colour outside a terminal: %q", tc.format, out.String())
		}
		if !tc.json && !strings.Contains(out.String(), "level=INFO msg=hello step=3") {
			t.Errorf("%q: got %q", tc.format, out.String())
		}
	}
}

func TestLoggerLevels(t *testing.T) {
	for _, tc := range []struct {
		level string
		want  int // of the four lines below
	}{
		{"debug", 4},
		{"", 3},
		{"info", 3},
		{"warn", 2},
		{"error", 1},
	} {
		var out bytes.Buffer
		log, err := NewLogger(&out, "text", tc.level)
		if err != nil {
			t.Errorf("%q: %v", tc.level, err)
			continue
		}
		for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			log.Log(t.Context(), level, "x")
		}
		if got := strings.Count(out.String(), "\n"); got != tc.want {
			t.Errorf("%q: %d lines, want %d", tc.level, got, tc.want)
		}
	}
}

func TestLoggerRefusesWhatItDoesNotKnow(t *testing.T) {
	for _, tc := range []struct{ format, level, want string }{
		{"xml", "info", `log format "xml": allowed are auto, text, json`},
		{"text", "loud", `log level "loud": allowed are debug, info, warn, error`},
	} {
		_, err := NewLogger(&bytes.Buffer{}, tc.format, tc.level)
		if err == nil || err.Error() != tc.want {
			t.Errorf("NewLogger(%q, %q): %v, want %s", tc.format, tc.level, err, tc.want)
		}
	}
}

func TestAFileIsNoTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, tc := range []struct {
		name string
		got  bool
	}{
		{"file", IsTerminal(f)},
		{"console over a file", IsTerminal(NewConsole(f))},
		{"no file", IsTerminal((*os.File)(nil))},
		{"buffer", IsTerminal(&bytes.Buffer{})},
	} {
		if tc.got {
			t.Errorf("%s is taken for a terminal", tc.name)
		}
	}
}
