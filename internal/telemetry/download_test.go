package telemetry

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestDownloadLineFitsItsWidth(t *testing.T) {
	const mb = 1_000_000
	for _, tc := range []struct {
		done, total int64
		rate        float64
		width       int
		want        string
	}{
		{50 * mb, 170 * mb, 10 * mb, 80, "cifar10  [########......................]  50.0/170.0 MB  10.0 MB/s  12s left"},
		{50 * mb, 170 * mb, 10 * mb, 50, "cifar10  50.0/170.0 MB  10.0 MB/s  12s left"},
		{50 * mb, 170 * mb, 10 * mb, 10, "cifar10  5"},
		{50 * mb, 170 * mb, 0, 42, "cifar10  [#.....]  50.0/170.0 MB  0.0 MB/s"},
		{50 * mb, -1, 10 * mb, 80, "cifar10  50.0 MB  10.0 MB/s"},
		{50 * mb, -1, 10 * mb, 7, "cifar10"},
		{50 * mb, -1, 10 * mb, 0, ""},
		{170 * mb, 170 * mb, 10 * mb, 80, "cifar10  [##############################]  170.0/170.0 MB  10.0 MB/s  0s left"},
	} {
		if got := downloadLine("cifar10", tc.done, tc.total, tc.rate, tc.width); got != tc.want {
			t.Errorf("%d of %d in %d:\ngot  %q\nwant %q", tc.done, tc.total, tc.width, got, tc.want)
		}
	}
}

func TestDownloadIsLoggedEveryFiveSeconds(t *testing.T) {
	c := &clock{t: time.Unix(1000, 0)}
	var out bytes.Buffer
	d := NewDownload(&bytes.Buffer{}, slog.New(slog.NewJSONHandler(&out, nil)), Auto, "cifar10")
	d.now = c.now
	for second := range int64(11) {
		c.t = time.Unix(1000+second, 0)
		d.Report(5_000_000+second*2_000_000, 170_000_000) // 5 MB were there from an earlier try
	}
	d.Close()
	c.t = time.Unix(2000, 0)
	d.Report(170_000_000, 170_000_000)
	var got [][2]float64
	for _, m := range decode(t, &out) {
		got = append(got, [2]float64{m["bytes"].(float64), m["mb_per_second"].(float64)})
	}
	want := [][2]float64{{5e6, 0}, {15e6, 2}, {25e6, 2}}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("bytes and MB/s %v, want %v", got, want)
	}
}

func TestDownloadIsDrawnOnATerminalUntilClose(t *testing.T) {
	var out bytes.Buffer
	console := NewConsole(&out)
	d := NewDownload(console, slog.New(slog.DiscardHandler), Terminal, "cifar10")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range int64(20) {
				d.Report(i, 20)
				console.Write([]byte("above\n"))
			}
		})
	}
	wg.Wait()
	d.Close()
	d.Close()
	d.Report(20, 20)
	if got := strings.Count(out.String(), "above\n"); got != 80 {
		t.Errorf("%d lines above, want 80", got)
	}
}
