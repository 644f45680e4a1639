package telemetry

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"
)

var halfway = Sample{
	Epoch: 2, Epochs: 10, Batch: 195, Batches: 390, Step: 585,
	Loss: 2.10344, Accuracy: 0.2134, ImagesPerSecond: 512.4, Remaining: 12*time.Minute + 30*time.Second,
}

func TestSampleLineFitsItsWidth(t *testing.T) {
	for _, tc := range []struct {
		width int
		want  string
	}{
		{120, "epoch 2/10  [###############...............]  195/390  loss 2.1034  accuracy 0.213  512 images/s  12m30s left"},
		{86, "epoch 2/10  [###....]  195/390  loss 2.1034  accuracy 0.213  512 images/s  12m30s left"},
		{80, "epoch 2/10  195/390  loss 2.1034  accuracy 0.213  512 images/s  12m30s left"},
		{73, "epoch 2/10  [###....]  195/390  loss 2.1034  accuracy 0.213  512 images/s"},
		{40, "epoch 2/10  195/390  loss 2.1034"},
		{20, "epoch 2/10  195/390"},
		{12, "epoch 2/10"},
		{5, "epoch"},
		{0, ""},
	} {
		got := sampleLine(halfway, tc.width)
		if got != tc.want || len(got) > tc.width {
			t.Errorf("width %d:\ngot  %q\nwant %q", tc.width, got, tc.want)
		}
	}
}

func TestMeterShowsTheShareDone(t *testing.T) {
	for _, tc := range []struct {
		done, total int64
		want        string
	}{
		{0, 10, "[..........]"},
		{5, 10, "[#####.....]"},
		{9, 10, "[#########.]"},
		{10, 10, "[##########]"},
		{11, 10, "[##########]"},
		{3, 0, "[..........]"},
		{-1, 10, "[..........]"},
	} {
		if got := meter(tc.done, tc.total, 10); got != tc.want {
			t.Errorf("meter(%d, %d) = %s, want %s", tc.done, tc.total, got, tc.want)
		}
	}
}

func TestEpochLineLeavesOutWhatWasNotMeasured(t *testing.T) {
	nan := math.NaN()
	for _, tc := range []struct {
		in   EpochResult
		want string
	}{
		{
			EpochResult{Epoch: 1, Epochs: 10, TrainLoss: 2.25, TestLoss: 2, Top1: 0.2871, Top5: 0.8123, ImagesPerSecond: 512.3, Seconds: 97.64},
			"epoch  1/10  train loss 2.2500  test loss 2.0000  top-1 0.2871  top-5 0.8123  512 images/s  97.6 s",
		},
		{
			EpochResult{Epoch: 3, Epochs: 5, TrainLoss: 2.25, TestLoss: nan, Top1: nan, Top5: nan, ImagesPerSecond: 12, Seconds: 3, Synthetic: true},
			"epoch 3/5  train loss 2.2500  12 images/s  3.0 s  synthetic images, not CIFAR-10",
		},
	} {
		if got := epochLine(tc.in); got != tc.want {
			t.Errorf("got  %q\nwant %q", got, tc.want)
		}
	}
}

func TestLinesAboveTheBarSurviveClose(t *testing.T) {
	var out bytes.Buffer
	console := NewConsole(&out)
	log, err := NewLogger(console, "text", "info")
	if err != nil {
		t.Fatal(err)
	}
	p := NewProgress(console, log, Terminal)
	p.Update(halfway)
	log.Info("a worker joined")
	p.Epoch(EpochResult{Epoch: 2, Epochs: 10, TrainLoss: 2})
	p.Close()
	log.Info("after the bar")
	p.Update(halfway) // nothing to draw on any more, and no panic
	p.Epoch(EpochResult{})
	p.Close()

	got := out.String()
	for _, want := range []string{`msg="a worker joined"`, "epoch  2/10  train loss 2.0000", `msg="after the bar"`} {
		if strings.Count(got, want) != 1 {
			t.Errorf("%q should appear once in\n%s", want, got)
		}
	}
	for line := range strings.Lines(got) {
		if strings.Contains(line, "msg=") && !strings.HasPrefix(line[strings.Index(line, "time="):], "time=") {
			t.Errorf("torn line %q", line)
		}
	}
}

func TestCloseWithoutASampleStillWritesTheEpochs(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, slog.New(slog.DiscardHandler), Terminal)
	p.Epoch(EpochResult{Epoch: 1, Epochs: 1, TrainLoss: 1})
	p.Close()
	if got := out.String(); !strings.Contains(got, "epoch 1/1  train loss 1.0000") {
		t.Errorf("the epoch's line is missing: %q", got)
	}
}

// brokenWriter is a terminal that went away after a few writes.
type brokenWriter struct{ left int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left--; w.left < 0 {
		return 0, errors.New("gone")
	}
	return len(p), nil
}

func TestTerminalThatGoesAwayDoesNotStopTraining(t *testing.T) {
	for _, left := range []int{0, 1} {
		console := NewConsole(&brokenWriter{left: left})
		p := NewProgress(console, slog.New(slog.DiscardHandler), Terminal)
		for i := range 50 {
			p.Update(Sample{Epoch: 1, Epochs: 1, Batch: i, Batches: 50})
			p.Epoch(EpochResult{Epoch: 1, Epochs: 1})
			io.WriteString(console, "a line\n")
		}
		p.Close()
	}
}

func TestUpdateOfABarAllocatesNothing(t *testing.T) {
	var out bytes.Buffer
	p := NewProgress(&out, slog.New(slog.DiscardHandler), Terminal)
	defer p.Close()
	p.Update(halfway)
	// The redrawing goroutines allocate beside us now and then; the least of several runs is ours.
	least := math.Inf(1)
	for range 5 {
		least = min(least, testing.AllocsPerRun(50, func() { p.Update(halfway) }))
	}
	if least != 0 {
		t.Errorf("Update allocates %v times", least)
	}
}
