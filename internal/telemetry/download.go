package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// Download shows how a download goes. It is safe for concurrent use.
type Download struct {
	name string
	log  *slog.Logger
	now  func() time.Time
	line *redrawn // nil: to the log

	mu          sync.Mutex // guards the fields below
	began, last time.Time  // of the first report and the latest line; zero: none yet
	first       int64      // bytes that were there at the first report
	done, total int64      // total below 0: unknown
	closed      bool
}

// NewDownload returns a Download called name, shown as kind says; see
// NewProgress. The caller ends it with Close.
func NewDownload(stderr io.Writer, log *slog.Logger, kind Kind, name string) *Download {
	d := &Download{name: name, log: log, now: time.Now}
	if drawn(stderr, kind) {
		d.line = newRedrawn(stderr, d.draw)
	}
	return d
}

// Report tells how many bytes of how many are there; total below 0: unknown.
func (d *Download) Report(done, total int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	now := d.now()
	if d.began.IsZero() {
		d.began, d.first = now, done
	}
	d.done, d.total = done, total
	if d.line != nil {
		d.line.show()
		return
	}
	if d.last.IsZero() || now.Sub(d.last) >= LogEvery {
		d.last = now
		d.log.Info("downloading", "name", d.name, "bytes", done, "of", total, number("mb_per_second", d.rate(now)/1e6, 1))
	}
}

// Close takes a drawn line away; later reports are ignored.
func (d *Download) Close() {
	d.mu.Lock()
	closed := d.closed
	d.closed = true
	d.mu.Unlock()
	if !closed && d.line != nil {
		d.line.close() // not under the lock: the drawing goroutines take it
	}
}

// rate is bytes per second since the first report.
func (d *Download) rate(now time.Time) float64 {
	if s := now.Sub(d.began).Seconds(); s > 0 {
		return float64(d.done-d.first) / s
	}
	return 0
}

// draw is called by the drawing goroutines.
func (d *Download) draw(width int) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return downloadLine(d.name, d.done, d.total, d.rate(d.now()), width)
}

// downloadLine shows a download on at most width columns.
func downloadLine(name string, done, total int64, rate float64, width int) string {
	var line string
	if total < 0 {
		line = fmt.Sprintf("%s  %.1f MB  %.1f MB/s", name, float64(done)/1e6, rate/1e6)
	} else {
		tail := fmt.Sprintf("%.1f/%.1f MB  %.1f MB/s", float64(done)/1e6, float64(total)/1e6, rate/1e6)
		if rate > 0 {
			tail += "  " + shortDuration(time.Duration(float64(total-done)/rate*float64(time.Second))) + " left"
		}
		line = name + "  " + tail
		if cells := min(width-len(line)-4, 30); cells >= 5 {
			line = name + "  " + meter(done, total, cells) + "  " + tail
		}
	}
	return line[:min(len(line), max(width, 0))]
}
