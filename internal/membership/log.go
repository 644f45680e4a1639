package membership

import (
	"context"
	"log/slog"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// ZapLogger returns a logger for etcd's own use that speaks to log, and quietly:
// etcd's information and warnings are dropped to debug, its errors to warnings.
// What etcd calls fatal panics instead of ending the process.
func ZapLogger(log *slog.Logger) *zap.Logger {
	return zap.New(slogCore{log: log}, zap.WithFatalHook(zapcore.WriteThenPanic))
}

// slogCore is a zapcore.Core that hands entries to an slog.Logger.
type slogCore struct {
	log    *slog.Logger
	fields []zapcore.Field
}

// quieter returns the level at which an entry of etcd's concerns our reader.
func quieter(level zapcore.Level) slog.Level {
	switch {
	case level >= zapcore.DPanicLevel:
		return slog.LevelError
	case level == zapcore.ErrorLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (c slogCore) Enabled(level zapcore.Level) bool {
	return level > zapcore.DebugLevel && c.log.Enabled(context.Background(), quieter(level))
}

func (c slogCore) With(fields []zapcore.Field) zapcore.Core {
	return slogCore{log: c.log, fields: append(c.fields[:len(c.fields):len(c.fields)], fields...)}
}

func (c slogCore) Check(e zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return checked.AddCore(e, c)
	}
	return checked
}

func (c slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	encoder := zapcore.NewMapObjectEncoder()
	attrs := make([]slog.Attr, 0, len(c.fields)+len(fields))
	for _, field := range append(c.fields[:len(c.fields):len(c.fields)], fields...) {
		field.AddTo(encoder)
		if value, ok := encoder.Fields[field.Key]; ok {
			attrs = append(attrs, slog.Any(field.Key, value))
		}
	}
	c.log.LogAttrs(context.Background(), quieter(e.Level), "etcd: "+e.Message, attrs...)
	return nil
}

func (slogCore) Sync() error { return nil }
