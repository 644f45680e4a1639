package chart

import (
	"bytes"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// pictures draws every kind with a file name, by name of the kind.
var pictures = map[string]func(path string) error{
	"bars": func(path string) error {
		return Bars(path, []string{"alexnet", "alexnet-lrn", "lenet5"},
			Panel{Title: "Accuracy", Axis: "test accuracy, %", Values: []float64{61.2, 63, math.NaN()}, Text: []string{"61.2", "63.0", "-"}},
			Panel{Title: "Time", Axis: "minutes", Values: []float64{18, 21, 1}, Text: []string{"18m00s", "21m00s", "1m00s"}})
	},
	"curves": func(path string) error {
		return Curves(path, []string{"alexnet", "alexnet-lrn"},
			Graph{Title: "Test accuracy", X: "epoch", Y: "%", Lines: []Line{
				{X: []float64{1, 2, 3}, Y: []float64{20, 30, 41}},
				{X: []float64{1, 2, 3}, Y: []float64{19, math.Inf(1), 43}},
			}},
			Graph{Title: "Test loss", X: "epoch", Y: "cross-entropy", Lines: []Line{{X: []float64{1}, Y: []float64{2}}, {}}})
	},
	"limits": func(path string) error {
		return Limited(path, []string{"cpu", "gpu"}, "bound",
			Limits{Title: "Efficiency", X: "workers", Y: "%", Lines: []Line{
				{X: []float64{1, 2, 4}, Y: []float64{60, 40, 21}}, {X: []float64{1, 2, 4}, Y: []float64{0.8, 0.4, math.NaN()}},
			}, Bounds: []Line{{X: []float64{1, 2, 4}, Y: []float64{65, 44, 22}}, {}}},
			Limits{Title: "Nothing", Lines: []Line{{X: []float64{0, 1}, Y: []float64{1, 0}}}})
	},
	"matrix": func(path string) error {
		return Confusion(path, Matrix{Title: "lenet5", Rows: []string{"cat", "dog"}, Columns: []string{"cat", "dog"}, Counts: [][]int{{90, 10}, {25, 75}}})
	},
}

func TestPicturesAreWhatTheirExtensionSays(t *testing.T) {
	for name, paint := range pictures {
		dir := t.TempDir()
		path := filepath.Join(dir, "a.png")
		if err := paint(path); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(bytes.NewReader(data))
		if err != nil || img.Bounds().Dx() < 300 {
			t.Errorf("%s: %v of %v, want a PNG of a readable size", name, err, img.Bounds())
		}
		if r, g, b, a := img.At(1, 1).RGBA(); r != 0xffff || g != 0xffff || b != 0xffff || a != 0xffff {
			t.Errorf("%s: the corner is %x %x %x %x, want opaque white", name, r, g, b, a)
		}
		if err := paint(filepath.Join(dir, "a.svg")); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if text, err := os.ReadFile(filepath.Join(dir, "a.svg")); err != nil || !bytes.Contains(text, []byte("<svg")) {
			t.Errorf("%s: %v, want an SVG", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
			t.Errorf("%s: left %v, %v; want the two pictures alone", name, left, err)
		}
	}
}

func TestTheSameNumbersGiveTheSameBytes(t *testing.T) {
	for name, paint := range pictures {
		for _, extension := range Extensions {
			var last []byte
			for range 2 {
				path := filepath.Join(t.TempDir(), "a"+extension)
				if err := paint(path); err != nil {
					t.Fatal(err)
				}
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if last != nil && !bytes.Equal(last, data) {
					t.Errorf("%s%s differs from one run to the next", name, extension)
				}
				last = data
			}
		}
	}
}

func TestWhatAPictureSays(t *testing.T) {
	for name, want := range map[string][]string{
		"bars":   {"alexnet-lrn", "63.0", "21m00s", "Accuracy", "minutes"},
		"curves": {"alexnet-lrn", "Test loss", "epoch", "cross-entropy"},
		"limits": {"gpu", "bound", "Efficiency", "workers"},
		"matrix": {"lenet5", "cat", "dog", "90", "75", "predicted"},
	} {
		path := filepath.Join(t.TempDir(), "a.svg")
		if err := pictures[name](path); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s doesn't say %q", name, w)
			}
		}
	}
}

func TestABarThatIsNotFiniteIsLeftOut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.svg")
	if err := Bars(path, []string{"a"}, Panel{Values: []float64{math.NaN()}, Text: []string{"not drawn"}}); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); strings.Contains(string(text), "not drawn") || strings.Contains(string(text), "NaN") {
		t.Error("a value that is not finite is drawn")
	}
}

func TestCheckRefusesWhatCannotBeWritten(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		filepath.Join(dir, "a.jpg"):         "the extension must be one of .png, .svg",
		filepath.Join(dir, "a"):             "extension",
		filepath.Join(dir, "none", "a.png"): "its directory is not there",
		filepath.Join(dir, "a.png"):         "",
		filepath.Join(dir, "a.svg"):         "",
	} {
		err := Check(path)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("Check(%q) = %v, want %q", path, err, want)
		}
	}
	if err := Bars(filepath.Join(dir, "a.gif"), []string{"a"}, Panel{Values: []float64{1}, Text: []string{""}}); err == nil {
		t.Error("a GIF is written")
	}
	if err := Bars(filepath.Join(dir, "a.png"), nil); err == nil {
		t.Error("bars of nothing are drawn")
	}
	if err := Curves(filepath.Join(dir, "a.png"), nil); err == nil {
		t.Error("curves of nothing are drawn")
	}
	if err := Limited(filepath.Join(dir, "a.png"), nil, ""); err == nil {
		t.Error("limits of nothing are drawn")
	}
}
