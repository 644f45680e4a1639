package dataset

import (
	"os"
	"sync"
	"testing"

	"github.com/muster-train/muster/internal/philox"
)

// drawnTrain and drawnTest are the images of the set in these tests. Drawing is
// done by one goroutine and has no races, but it takes a minute when each block
// of it is watched and counted: a tenth of the images will do then.
var drawnTrain, drawnTest = syntheticTrain, syntheticTest

func TestMain(m *testing.M) {
	if raceEnabled {
		drawnTrain, drawnTest = syntheticTrain/10, syntheticTest/10
		synthetic = sync.OnceValue(func() *Set { return drawSet(drawnTrain, drawnTest) })
	}
	os.Exit(m.Run())
}

// The bytes are part of the promise of equal bits: whoever changes a drawing
// changes every result on the synthetic set.
func TestSyntheticNeverChanges(t *testing.T) {
	want := "31cb4e84546995b020f815c228816dffb8826d1a63f6c8dc9a248b50be0c1e31"
	if raceEnabled {
		want = "57819156c7d4970f5c474ac13fbc9b0c83ca840e4ae57f2a3c402d3760613eef"
	}
	if got := Synthetic().Fingerprint(); got != want {
		t.Errorf("fingerprint of %d+%d images = %s, want %s", drawnTrain, drawnTest, got, want)
	}
}

func TestSyntheticShape(t *testing.T) {
	s := Synthetic()
	if s.Name != "synthetic" || !s.Synthetic || s.Source != "built in" || len(s.Classes) != 10 {
		t.Errorf("set %q, synthetic %v, from %q, %d classes", s.Name, s.Synthetic, s.Source, len(s.Classes))
	}
	if Synthetic() != s {
		t.Error("the set is drawn anew at each call")
	}
	for _, tc := range []struct {
		im *Images
		n  int
	}{{s.Train, drawnTrain}, {s.Test, drawnTest}} {
		if tc.im.Len() != tc.n || len(tc.im.Pixels) != tc.n*PixelBytes || tc.im.Side != Side {
			t.Fatalf("%d images, %d bytes, side %d; want %d images", tc.im.Len(), len(tc.im.Pixels), tc.im.Side, tc.n)
		}
		for i := 0; i < tc.n; i += 10 {
			seen := 0
			for _, l := range tc.im.Labels[i : i+10] {
				seen |= 1 << l
			}
			if seen != 1<<10-1 {
				t.Fatalf("images %d to %d are of classes %v, want each once", i, i+9, tc.im.Labels[i:i+10])
			}
		}
	}
}

func TestSyntheticImagesAreAllDifferent(t *testing.T) {
	s := Synthetic()
	seen := make(map[[64]byte]bool)
	for _, im := range []*Images{s.Train, s.Test} {
		for i := range im.Len() {
			key := [64]byte(im.Image(i)[500:])
			if seen[key] {
				t.Fatalf("image %d looks like another one", i)
			}
			seen[key] = true
		}
	}
}

// A label must not be told by colour or brightness: the nearest class mean, the
// best that a classifier without a sense of form can do, stays far from right.
func TestSyntheticColoursTellNothing(t *testing.T) {
	s := Synthetic()
	var mean [10][PixelBytes]float64
	train, test := min(4000, drawnTrain), min(500, drawnTest)
	for i := range train {
		for k, p := range s.Train.Image(i) {
			mean[s.Train.Labels[i]][k] += float64(p) / float64(train/10)
		}
	}
	right := 0
	for i := range test {
		best, least := 0, 1e300
		for class := range mean {
			d := 0.0
			for k, p := range s.Test.Image(i) {
				e := float64(p) - mean[class][k]
				d += e * e
			}
			if d < least {
				best, least = class, d
			}
		}
		if best == int(s.Test.Labels[i]) {
			right++
		}
	}
	if share := float64(right) / float64(test); share > 0.3 {
		t.Errorf("the nearest class mean is right on %.3f, want under 0.3", share)
	}
}

// But form tells it: stripes change from row to row, bars from column to column.
func TestSyntheticFormsTellTheClass(t *testing.T) {
	im := Synthetic().Train
	right, n := 0, 0
	for i := range min(2000, drawnTrain) {
		label := int(im.Labels[i])
		if label != stripes && label != bars {
			continue
		}
		p := im.Image(i)
		down, across := 0, 0
		for c := range Channels {
			for y := range Side - 1 {
				for x := range Side - 1 {
					at := c*plane + y*Side + x
					down += square2(int(p[at+Side]) - int(p[at]))
					across += square2(int(p[at+1]) - int(p[at]))
				}
			}
		}
		n++
		if (down > across) == (label == stripes) {
			right++
		}
	}
	if share := float64(right) / float64(n); share < 0.95 {
		t.Errorf("%.3f of %d stripes and bars are told by their direction, want over 0.95", share, n)
	}
}

func square2(d int) int { return d * d }

func TestSineMatchesItsSymmetries(t *testing.T) {
	for a := -300; a < 600; a++ {
		if sine(a) != -sine(-a) || sine(a) != sine(a+256) || sine(a) != sine(128-a) {
			t.Fatalf("sine(%d) = %d breaks a symmetry", a, sine(a))
		}
		if d := sine(a)*sine(a) + sine(a+64)*sine(a+64) - 16384*16384; d > 40000 || d < -40000 {
			t.Fatalf("sine and cosine of %d are %d off the circle", a, d)
		}
	}
	if sine(0) != 0 || sine(64) != 16384 || sine(32) != 11585 {
		t.Errorf("sine(0, 64, 32) = %d, %d, %d", sine(0), sine(64), sine(32))
	}
}

func TestEveryFigureCoversSomeAndLeavesSome(t *testing.T) {
	for kind := range 10 {
		for i := range uint32(50) {
			s := philox.New(1, philox.Synthetic, 9, i)
			f := randomFigure(kind, &s)
			covered := 0
			for y := range Side {
				for x := range Side {
					n := f.cover(x, y)
					if n < 0 || n > 4 {
						t.Fatalf("%s %d covers %d of 4 points", syntheticClasses()[kind], i, n)
					}
					covered += n
				}
			}
			if covered < 4*plane/40 || covered > 4*plane*39/40 {
				t.Errorf("%s %d covers %d of %d points", syntheticClasses()[kind], i, covered, 4*plane)
			}
		}
	}
}
