package model

import "testing"

func TestWindowsFitAsTheFrameworksRound(t *testing.T) {
	for _, tc := range []struct {
		window      Window
		in          int
		out, before int // out 0: no window fits
	}{
		// AlexNet's first layers, in their three forms.
		{Window{Kernel: 11, Stride: 4, Pad: 1}, 32, 6, 1},
		{Window{Kernel: 11, Stride: 4}, 227, 55, 0},
		{Window{Kernel: 11, Stride: 4, Rounding: Same}, 224, 56, 3},
		{Window{Kernel: 5, Stride: 1, Pad: 2}, 27, 27, 2},
		{Window{Kernel: 5, Stride: 1, Rounding: Same}, 27, 27, 2},
		{Window{Kernel: 3, Stride: 1, Rounding: Same}, 13, 13, 1},
		// SAME where the odd value of padding comes after, and where none is needed.
		{Window{Kernel: 2, Stride: 1, Rounding: Same}, 5, 5, 0},
		{Window{Kernel: 3, Stride: 2, Rounding: Same}, 6, 3, 0},
		{Window{Kernel: 3, Stride: 2, Rounding: Same}, 7, 4, 1},
		{Window{Kernel: 1, Stride: 3, Rounding: Same}, 7, 3, 0},
		{Window{Kernel: 3, Stride: 1, Rounding: Same}, 1, 1, 1},
		// Rounding down.
		{Window{Kernel: 3, Stride: 2}, 55, 27, 0},
		{Window{Kernel: 3, Stride: 2}, 6, 2, 0},
		{Window{Kernel: 3, Stride: 2}, 3, 1, 0},
		{Window{Kernel: 3, Stride: 2}, 2, 0, 0},
		{Window{Kernel: 3, Stride: 1, Pad: 1}, 1, 1, 1},
		// Rounding up, down to maps smaller than the window.
		{Window{Kernel: 3, Stride: 2, Rounding: RoundUp}, 32, 16, 0},
		{Window{Kernel: 3, Stride: 2, Rounding: RoundUp}, 6, 3, 0},
		{Window{Kernel: 3, Stride: 2, Rounding: RoundUp}, 7, 3, 0},
		{Window{Kernel: 3, Stride: 2, Rounding: RoundUp}, 3, 1, 0},
		{Window{Kernel: 3, Stride: 2, Rounding: RoundUp}, 2, 1, 0},
		{Window{Kernel: 3, Stride: 2, Rounding: RoundUp}, 1, 1, 0},
		{Window{Kernel: 5, Stride: 1, Rounding: RoundUp}, 1, 1, 0},
		{Window{Kernel: 2, Stride: 2, Pad: 1, Rounding: RoundUp}, 3, 0, 0}, // the last would see no value
	} {
		out, before, err := tc.window.fit(tc.in)
		if tc.out == 0 {
			if err == nil {
				t.Errorf("%+v fits %d values %d times, want an error", tc.window, tc.in, out)
			}
			continue
		}
		if err != nil || out != tc.out || before != tc.before {
			t.Errorf("%+v on %d values: %d windows from -%d, %v; want %d from -%d", tc.window, tc.in, out, before, err, tc.out, tc.before)
		}
	}
}

// TestEveryWindowSeesAValue also says what fit's windows must be: the first
// begins at or before the image, and rounding up or SAME leaves nothing over.
func TestEveryWindowSeesAValue(t *testing.T) {
	for in := 1; in <= 40; in++ {
		for kernel := 1; kernel <= 11; kernel++ {
			for stride := 1; stride <= kernel; stride++ {
				for pad := 0; pad < kernel; pad++ {
					for _, r := range []Rounding{RoundDown, RoundUp, Same} {
						checkWindows(t, Window{Kernel: kernel, Stride: stride, Pad: pad, Rounding: r}, in)
					}
				}
			}
		}
	}
}

func checkWindows(t *testing.T, w Window, in int) {
	t.Helper()
	out, before, err := w.fit(in)
	if err != nil {
		if w.Rounding == Same {
			t.Fatalf("%+v on %d values: %v; SAME always fits", w, in, err)
		}
		return
	}
	if out < 1 || before < 0 || before >= w.Kernel {
		t.Fatalf("%+v on %d values: %d windows from -%d", w, in, out, before)
	}
	taps := int64(0)
	for o := range out {
		seen := 0
		for k := range w.Kernel {
			if x := o*w.Stride + k - before; x >= 0 && x < in {
				seen++
			}
		}
		if seen == 0 {
			t.Fatalf("%+v on %d values: window %d of %d sees nothing", w, in, o, out)
		}
		taps += int64(seen)
	}
	if got := w.taps(in); got != taps {
		t.Fatalf("%+v on %d values: %d taps, want %d", w, in, got, taps)
	}
	end := (out-1)*w.Stride - before + w.Kernel // of the last window
	switch {
	case w.Rounding == RoundDown && end > in+w.Pad:
		t.Fatalf("%+v on %d values: the last window ends at %d, beyond the padding", w, in, end)
	case w.Rounding == RoundDown && end+w.Stride <= in+w.Pad:
		t.Fatalf("%+v on %d values: another window after %d would fit", w, in, end)
	case w.Rounding != RoundDown && end < in:
		t.Fatalf("%+v on %d values: the last window ends at %d, values are left over", w, in, end)
	}
}

func TestTapsOfNoWindowAreNone(t *testing.T) {
	if got := (Window{Kernel: 5, Stride: 1}).taps(4); got != 0 {
		t.Errorf("taps = %d, want 0", got)
	}
}

func TestWindowIsWrittenInShort(t *testing.T) {
	for _, tc := range []struct {
		window Window
		want   string
	}{
		{Window{Kernel: 3, Stride: 1}, "3x3"},
		{Window{Kernel: 11, Stride: 4, Pad: 1}, "11x11, stride 4, pad 1"},
		{Window{Kernel: 5, Stride: 1, Pad: 9, Rounding: Same}, "5x5, SAME"},
	} {
		if got := tc.window.String(); got != tc.want {
			t.Errorf("%+v is written %q, want %q", tc.window, got, tc.want)
		}
	}
}

// TestWindowsMeetTheTapsThatSomePlaceLaysOnTheImage tries every tap at every place.
func TestWindowsMeetTheTapsThatSomePlaceLaysOnTheImage(t *testing.T) {
	for in := 1; in <= 12; in++ {
		for kernel := 1; kernel <= 11; kernel++ {
			for stride := 1; stride <= 4; stride++ {
				for pad := 0; pad < kernel; pad++ {
					for _, r := range []Rounding{RoundDown, Same} {
						w := Window{Kernel: kernel, Stride: stride, Pad: pad, Rounding: r}
						out, before, err := w.fit(in)
						if err != nil {
							continue
						}
						for tap, got := range w.meets(in) {
							want := false
							for o := range out {
								at := o*stride - before + tap
								want = want || at >= 0 && at < in
							}
							if got != want {
								t.Errorf("%+v on %d values: tap %d meets a value: %v, want %v", w, in, tap, got, want)
							}
						}
					}
				}
			}
		}
	}
}
