package telemetry

import (
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
)

// bar shows progress as one line that is redrawn.
type bar struct {
	*redrawn

	mu     sync.Mutex // guards the field below, which the drawing goroutines read
	sample Sample
}

func newBar(terminal io.Writer) *bar {
	b := &bar{}
	b.redrawn = newRedrawn(terminal, func(width int) string {
		b.mu.Lock()
		s := b.sample
		b.mu.Unlock()
		return sampleLine(s, width)
	})
	return b
}

func (b *bar) update(s Sample) {
	b.mu.Lock()
	b.sample = s
	b.mu.Unlock()
	b.show()
}

func (b *bar) epoch(r EpochResult) { b.above(epochLine(r)) }

// sampleLine is s on one line of at most width columns; the meter takes what
// the numbers leave, and numbers give way from the last where width is small.
func sampleLine(s Sample, width int) string {
	head := fmt.Sprintf("epoch %d/%d", s.Epoch, s.Epochs)
	parts := []string{
		fmt.Sprintf("%d/%d", s.Batch, s.Batches),
		fmt.Sprintf("loss %.4f", s.Loss),
		fmt.Sprintf("accuracy %.3f", s.Accuracy),
		fmt.Sprintf("%.0f images/s", s.ImagesPerSecond),
	}
	if s.Remaining > 0 {
		parts = append(parts, shortDuration(s.Remaining)+" left")
	}
	for len(parts) > 0 && len(head)+2+len(strings.Join(parts, "  ")) > width {
		parts = parts[:len(parts)-1]
	}
	tail := strings.Join(parts, "  ")
	if len(parts) == 0 {
		return head[:min(len(head), max(width, 0))]
	}
	if cells := min(width-len(head)-len(tail)-6, 30); cells >= 5 {
		return head + "  " + meter(int64(s.Batch), int64(s.Batches), cells) + "  " + tail
	}
	return head + "  " + tail
}

// meter draws done of total as [####....] with so many cells between brackets.
func meter(done, total int64, cells int) string {
	full := 0
	if total > 0 {
		full = min(max(int(float64(done)/float64(total)*float64(cells)), 0), cells)
	}
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", cells-full) + "]"
}

// epochLine is r on one line, without what was not measured.
func epochLine(r EpochResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "epoch %*d/%d", len(fmt.Sprint(r.Epochs)), r.Epoch, r.Epochs)
	for _, f := range []struct {
		format string
		value  float64
	}{
		{"  train loss %.4f", r.TrainLoss},
		{"  test loss %.4f", r.TestLoss},
		{"  top-1 %.4f", r.Top1},
		{"  top-5 %.4f", r.Top5},
		{"  %.0f images/s", r.ImagesPerSecond},
		{"  %.1f s", r.Seconds},
	} {
		if !math.IsNaN(f.value) {
			fmt.Fprintf(&b, f.format, f.value)
		}
	}
	if r.Synthetic {
		b.WriteString("  synthetic images, not CIFAR-10")
	}
	return b.String()
}
