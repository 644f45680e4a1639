package telemetry

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
)

// clock is a time that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newJSONLines(c *clock, out *bytes.Buffer) *Progress {
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	return &Progress{log: log, view: newLines(log, c.now)}
}

// decode parses out as JSON lines.
func decode(t *testing.T, out *bytes.Buffer) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, m)
	}
	return all
}

func TestLogHasALineAtOnceAndThenEveryFiveSeconds(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	var out bytes.Buffer
	p := newJSONLines(c, &out)
	for second := range 21 { // at 0, 5, 10, 15 and 20
		c.t = time.Unix(1000+int64(second), 0)
		p.Update(Sample{Epoch: 1, Batch: second})
	}
	var at []float64
	for _, m := range decode(t, &out) {
		at = append(at, m["batch"].(float64))
	}
	want := []float64{0, 5, 10, 15, 20}
	if len(at) != len(want) {
		t.Fatalf("lines at %v, want %v", at, want)
	}
	for i := range want {
		if at[i] != want[i] {
			t.Fatalf("lines at %v, want %v", at, want)
		}
	}
}

func TestLogLineNamesEverything(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	var out bytes.Buffer
	p := newJSONLines(c, &out)
	p.Update(halfway)
	got := decode(t, &out)[0]
	for key, want := range map[string]any{
		"msg": "training", "epoch": 2.0, "epochs": 10.0, "batch": 195.0, "batches": 390.0, "step": 585.0,
		"loss": 2.1034, "accuracy": 0.2134, "images_per_second": 512.4, "remaining": "12m30s",
	} {
		if got[key] != want {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
	}
}

func TestUnknownTimeLeftIsNotShown(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	var out bytes.Buffer
	p := newJSONLines(c, &out)
	p.Update(Sample{Epoch: 1})
	if got := decode(t, &out)[0]; got["remaining"] != nil {
		t.Errorf("remaining = %v, want none", got["remaining"])
	}
}

func TestEpochIsLoggedWhateverTheClock(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	var out bytes.Buffer
	p := newJSONLines(c, &out)
	p.Update(Sample{Epoch: 1})
	p.Epoch(EpochResult{Epoch: 1, Epochs: 3, Step: 390, TrainLoss: 2.2, TestLoss: math.NaN(), Top1: math.NaN(), Top5: math.NaN(), ImagesPerSecond: 100.04, Seconds: 500, Synthetic: true})
	all := decode(t, &out)
	if len(all) != 2 {
		t.Fatalf("%d lines, want 2", len(all))
	}
	got := all[1]
	for key, want := range map[string]any{
		"msg": "epoch done", "epoch": 1.0, "epochs": 3.0, "step": 390.0, "train_loss": 2.2,
		"images_per_second": 100.0, "seconds": 500.0, "synthetic": true,
		"test_loss": nil, "top1": nil, "top5": nil,
	} {
		if got[key] != want {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
	}
}

func TestDivergedLossIsStillAValidLine(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	for _, tc := range []struct {
		loss float64
		want any
	}{
		{math.NaN(), "NaN"},
		{math.Inf(1), "+Inf"},
		{1.00004, 1.0},
	} {
		var out bytes.Buffer
		newJSONLines(c, &out).Update(Sample{Loss: tc.loss})
		if got := decode(t, &out)[0]["loss"]; got != tc.want {
			t.Errorf("loss %v is logged as %v, want %v", tc.loss, got, tc.want)
		}
	}
}

func TestArticleLineComesEveryHundredBatches(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	var out bytes.Buffer
	p := newJSONLines(c, &out)
	for batch := range 250 {
		p.DebugPass(3, batch, 2.25, 0.875)
	}
	var got []string
	for _, m := range decode(t, &out) {
		got = append(got, m["level"].(string)+" "+m["msg"].(string))
	}
	want := []string{
		"DEBUG Pass 3, Batch 0, Cost 2.250000, {'classification_error_evaluator': 0.875000}",
		"DEBUG Pass 3, Batch 100, Cost 2.250000, {'classification_error_evaluator': 0.875000}",
		"DEBUG Pass 3, Batch 200, Cost 2.250000, {'classification_error_evaluator': 0.875000}",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestArticleLineIsSilentAboveDebug(t *testing.T) {
	var out bytes.Buffer
	log, err := NewLogger(&out, "text", "info")
	if err != nil {
		t.Fatal(err)
	}
	p := NewProgress(&out, log, Log)
	p.DebugPass(0, 0, 1, 1)
	if out.Len() != 0 {
		t.Errorf("logged %q", out.String())
	}
}

func TestKindChoosesTheView(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, tc := range []struct {
		kind Kind
		bar  bool
	}{
		{Auto, false}, // a buffer is no terminal
		{"", false},
		{Log, false},
		{Terminal, true},
	} {
		p := NewProgress(&bytes.Buffer{}, log, tc.kind)
		if _, got := p.view.(*bar); got != tc.bar {
			t.Errorf("kind %q: bar %v, want %v", tc.kind, got, tc.bar)
		}
		p.Close()
	}
}

func TestClosedProgressShowsNothing(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	var out bytes.Buffer
	p := newJSONLines(c, &out)
	p.Close()
	p.Update(Sample{})
	p.Epoch(EpochResult{})
	if out.Len() != 0 {
		t.Errorf("logged %q", out.String())
	}
}

func TestProgressIsSafeForConcurrentUse(t *testing.T) {
	for _, kind := range []Kind{Log, Terminal} {
		var out bytes.Buffer
		console := NewConsole(&out)
		log, err := NewLogger(console, "json", "debug")
		if err != nil {
			t.Fatal(err)
		}
		p := NewProgress(console, log, kind)
		var wg sync.WaitGroup
		for g := range 4 {
			wg.Go(func() {
				for i := range 20 {
					p.Update(Sample{Epoch: g, Batch: i})
					p.DebugPass(g, i, 1, 1)
					log.Info("a line")
				}
				p.Epoch(EpochResult{Epoch: g, Epochs: 4})
			})
		}
		wg.Wait()
		p.Close()
		if got := strings.Count(out.String(), `"msg":"a line"`); got != 80 {
			t.Errorf("%s: %d lines of the log, want 80", kind, got)
		}
	}
}

func TestShortDuration(t *testing.T) {
	for _, tc := range []struct {
		in   time.Duration
		want string
	}{
		{0, "0s"},
		{59*time.Second + 600*time.Millisecond, "1m00s"},
		{61 * time.Second, "1m01s"},
		{59*time.Minute + 59*time.Second, "59m59s"},
		{time.Hour, "1h00m"},
		{25*time.Hour + 9*time.Minute, "25h09m"},
	} {
		if got := shortDuration(tc.in); got != tc.want {
			t.Errorf("shortDuration(%v) = %s, want %s", tc.in, got, tc.want)
		}
	}
}
