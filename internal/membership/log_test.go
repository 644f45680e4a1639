package membership

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/zap"
)

func TestEtcdSpeaksQuietly(t *testing.T) {
	say := map[string]func(*zap.Logger){
		"debug": func(l *zap.Logger) { l.Debug("hello") },
		"info":  func(l *zap.Logger) { l.Info("hello") },
		"warn":  func(l *zap.Logger) { l.Warn("hello") },
		"error": func(l *zap.Logger) { l.Error("hello") },
	}
	for _, tc := range []struct {
		level slog.Level
		said  string
		want  string // level as written; "": nothing
	}{
		{slog.LevelDebug, "debug", ""},
		{slog.LevelDebug, "info", "DEBUG"},
		{slog.LevelDebug, "warn", "DEBUG"},
		{slog.LevelDebug, "error", "WARN"},
		{slog.LevelInfo, "info", ""},
		{slog.LevelInfo, "warn", ""},
		{slog.LevelInfo, "error", "WARN"},
		{slog.LevelError, "error", ""},
	} {
		var out strings.Builder
		say[tc.said](ZapLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: tc.level}))))
		if tc.want == "" && out.Len() > 0 || tc.want != "" && !strings.Contains(out.String(), "level="+tc.want+` msg="etcd: hello"`) {
			t.Errorf("said at %s, shown from %v on: %q, want level %q", tc.said, tc.level, out.String(), tc.want)
		}
	}
}

func TestEtcdsFieldsAreKept(t *testing.T) {
	var out strings.Builder
	log := ZapLogger(slog.New(slog.NewTextHandler(&out, nil))).With(zap.Int("member", 7))
	first, second := log.With(zap.String("which", "first")), log.With(zap.String("which", "second"))
	first.Error("broke", zap.Error(errors.New("no space")), zap.Strings("files", []string{"a", "b"}))
	second.Error("broke")
	lines := strings.Split(out.String(), "\n")
	for i, want := range []string{
		`member=7 which=first error="no space" files="[a b]"`,
		`member=7 which=second`,
	} {
		if !strings.HasSuffix(lines[i], want) {
			t.Errorf("line %d is %q, want it to end with %q", i, lines[i], want)
		}
	}
}

func TestAFatalErrorOfEtcdPanics(t *testing.T) {
	var out strings.Builder
	log := ZapLogger(slog.New(slog.NewTextHandler(&out, nil)))
	defer func() {
		if p := recover(); p == nil || !strings.Contains(out.String(), `level=ERROR msg="etcd: all is lost"`) {
			t.Errorf("recovered %v after %q", p, out.String())
		}
	}()
	log.Fatal("all is lost")
	t.Error("went on after a fatal error")
}
