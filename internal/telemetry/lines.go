package telemetry

import (
	"log/slog"
	"math"
	"strconv"
	"time"
)

// lines shows progress as lines of a log.
type lines struct {
	log  *slog.Logger
	now  func() time.Time
	last time.Time // of the latest line of a sample; zero: none yet
}

func newLines(log *slog.Logger, now func() time.Time) *lines {
	return &lines{log: log, now: now}
}

// update logs the first sample at once, so that a slow start is seen to have
// begun, and then one every LogEvery.
func (l *lines) update(s Sample) {
	now := l.now()
	if !l.last.IsZero() && now.Sub(l.last) < LogEvery {
		return
	}
	l.last = now
	attrs := []any{
		slog.Int("epoch", s.Epoch), slog.Int("epochs", s.Epochs),
		slog.Int("batch", s.Batch), slog.Int("batches", s.Batches),
		slog.Uint64("step", s.Step),
		number("loss", s.Loss, 4), number("accuracy", s.Accuracy, 4),
		number("images_per_second", s.ImagesPerSecond, 1),
	}
	if s.Remaining > 0 {
		attrs = append(attrs, slog.String("remaining", shortDuration(s.Remaining)))
	}
	l.log.Info("training", attrs...)
}

func (l *lines) epoch(r EpochResult) {
	attrs := []any{slog.Int("epoch", r.Epoch), slog.Int("epochs", r.Epochs), slog.Uint64("step", r.Step)}
	for _, f := range []struct {
		key    string
		value  float64
		digits int
	}{
		{"train_loss", r.TrainLoss, 4},
		{"test_loss", r.TestLoss, 4},
		{"top1", r.Top1, 4},
		{"top5", r.Top5, 4},
		{"images_per_second", r.ImagesPerSecond, 1},
		{"seconds", r.Seconds, 1},
	} {
		if !math.IsNaN(f.value) {
			attrs = append(attrs, number(f.key, f.value, f.digits))
		}
	}
	if r.Synthetic {
		attrs = append(attrs, slog.Bool("synthetic", true))
	}
	l.log.Info("epoch done", attrs...)
}

func (l *lines) close() {}

// number is an attribute rounded to so many decimals. What JSON has no number
// for becomes a string, so that a diverged loss still gives a valid line.
func number(key string, v float64, digits int) slog.Attr {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return slog.String(key, strconv.FormatFloat(v, 'g', -1, 64))
	}
	unit := math.Pow10(digits)
	return slog.Float64(key, math.Round(v*unit)/unit)
}

// shortDuration is d in seconds below a minute, minutes and seconds below an
// hour, else hours and minutes.
func shortDuration(d time.Duration) string {
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	pad := func(n int) string {
		if n < 10 {
			return "0" + strconv.Itoa(n)
		}
		return strconv.Itoa(n)
	}
	switch {
	case h > 0:
		return strconv.Itoa(h) + "h" + pad(m) + "m"
	case m > 0:
		return strconv.Itoa(m) + "m" + pad(s) + "s"
	}
	return strconv.Itoa(s) + "s"
}
