package dataset

import (
	"math"
	"strings"
	"testing"

	"github.com/muster-train/muster/internal/philox"
)

func TestParseAugment(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Augment
		text string // what String gives back
		err  string
	}{
		{"", 0, "none", ""},
		{"none", 0, "none", ""},
		{"flip", Flip, "flip", ""},
		{"pad-crop,flip", PadCrop | Flip, "pad-crop,flip", ""},
		{"colour-pca,flip,pad-crop", PadCrop | Flip | ColourPCA, "pad-crop,flip,colour-pca", ""},
		{"cutout,flip", Flip | Cutout, "flip,cutout", ""},
		{"flop", 0, "none", `augment "flop": unknown "flop"; must be none or a comma-separated list of pad-crop, flip, colour-pca, cutout`},
		{"flip,", 0, "none", `unknown ""`},
		{"none,flip", 0, "none", `unknown "none"`},
		{"flip, pad-crop", 0, "none", `unknown " pad-crop"`},
		{"flip,flip", 0, "none", "flip is there twice"},
		{"Flip", 0, "none", `unknown "Flip"`},
	} {
		got, err := ParseAugment(tc.in)
		if got != tc.want || got.String() != tc.text || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("ParseAugment(%q) = %v, %v; want %v, %q", tc.in, got, err, tc.text, tc.err)
		}
	}
}

func TestChoicesAreUniformAndIndependentOfOtherChanges(t *testing.T) {
	var windows [2*padding + 1][2*padding + 1]int
	var centres [2][Side]int // rows, columns
	flips := 0
	const n = 81 * 200
	for i := range uint32(n) {
		c := (PadCrop | Flip | ColourPCA | Cutout).choose(7, 3, i)
		centres[0][c.cy]++
		centres[1][c.cx]++
		windows[c.dy+padding][c.dx+padding]++
		if c.flip {
			flips++
		}
		if crop := PadCrop.choose(7, 3, i); crop.dy != c.dy || crop.dx != c.dx || crop.flip || crop.shift != [3]float32{} {
			t.Fatalf("image %d: choice %+v with pad-crop alone, %+v with all changes", i, crop, c)
		}
		if flip := Flip.choose(7, 3, i); flip.flip != c.flip || flip.dy != 0 {
			t.Fatalf("image %d: choice %+v with flip alone, %+v with all changes", i, flip, c)
		}
		if cut := Cutout.choose(7, 3, i); !cut.cut || cut.cy != c.cy || cut.cx != c.cx || cut.dx != 0 {
			t.Fatalf("image %d: choice %+v with cutout alone, %+v with all changes", i, cut, c)
		}
		if colour := ColourPCA.choose(7, 3, i); colour.shift != c.shift || colour.dx != 0 || colour.cut {
			t.Fatalf("image %d: choice %+v with colour-pca alone, %+v with all changes", i, colour, c)
		}
	}
	for y := range windows {
		for x, count := range windows[y] {
			if count < 120 || count > 280 { // 200, over five deviations
				t.Errorf("window (%d, %d) is taken %d times of %d, want about 200", y-padding, x-padding, count, n)
			}
		}
	}
	for axis := range centres {
		for at, count := range centres[axis] {
			if count < 380 || count > 630 { // 506, over five deviations
				t.Errorf("axis %d: the centre is at %d for %d images of %d, want about %d", axis, at, count, n, n/Side)
			}
		}
	}
	if flips < n/2-400 || flips > n/2+400 {
		t.Errorf("%d of %d images are mirrored, want about half", flips, n)
	}
}

func TestChoicesDifferByPlace(t *testing.T) {
	const a = PadCrop | Flip | ColourPCA
	first := a.choose(1, 2, 3)
	for _, other := range []choice{a.choose(2, 2, 3), a.choose(1, 3, 3), a.choose(1, 2, 4)} {
		if other.shift == first.shift {
			t.Errorf("choice %+v is that of another place", other)
		}
	}
	if again := a.choose(1, 2, 3); again != first {
		t.Errorf("choice at the same place = %+v, then %+v", first, again)
	}
}

func TestNormalHasTheMomentsOfANormal(t *testing.T) {
	s := philox.New(1, philox.Augment, 0, 0)
	var sum, square, fourth float64
	within := 0
	const n = 200000
	for range n {
		x := float64(normal(&s))
		sum += x
		square += x * x
		fourth += x * x * x * x
		if math.Abs(x) < 1 {
			within++
		}
	}
	for _, m := range []struct {
		name            string
		got, want, most float64
	}{
		{"mean", sum / n, 0, 0.012},
		{"variance", square / n, 1, 0.015},
		{"fourth moment", fourth / n, 2.9, 0.1}, // 3 - 1.2/12
		{"share within one deviation", float64(within) / n, 0.6826, 0.01},
	} {
		if math.Abs(m.got-m.want) > m.most {
			t.Errorf("%s = %v, want %v within %v", m.name, m.got, m.want, m.most)
		}
	}
}

func TestColourShiftFollowsTheComponents(t *testing.T) {
	// Project the shifts back onto the components: there each has deviation
	// 0.1 * its variance, and they are uncorrelated.
	const n = 20000
	var square [3]float64
	var cross float64
	for i := range uint32(n) {
		c := ColourPCA.choose(1, 0, i)
		var along [3]float64
		for k := range along {
			for channel, v := range c.shift {
				along[k] += float64(v) * float64(colourComponents[k][channel])
			}
			along[k] /= 0.1 * float64(colourVariances[k])
			square[k] += along[k] * along[k]
		}
		cross += along[0] * along[1]
	}
	for k, q := range square {
		if v := q / n; v < 0.95 || v > 1.05 {
			t.Errorf("variance along component %d = %v of what it should be", k, v)
		}
	}
	if v := cross / n; math.Abs(v) > 0.05 {
		t.Errorf("correlation of components 0 and 1 = %v, want none", v)
	}
}

func TestComponentsAreOrthonormal(t *testing.T) {
	for i := range 3 {
		for j := range 3 {
			dot, want := 0.0, 0.0
			if i == j {
				want = 1
			}
			for c := range 3 {
				dot += float64(colourComponents[i][c]) * float64(colourComponents[j][c])
			}
			if math.Abs(dot-want) > 1e-6 {
				t.Errorf("components %d and %d: product %v, want %v", i, j, dot, want)
			}
		}
	}
	if v := colourVariances; v[0] < v[1] || v[1] < v[2] || v[2] <= 0 {
		t.Errorf("variances %v, want them positive and falling", v)
	}
}

// The constants are eigenvectors of the covariance of the colours, and the
// variances its eigenvalues: C p = lambda p.
func TestComponentsAreThoseOfRealCIFAR10(t *testing.T) {
	s := realCIFAR10(t)
	var sum [3]uint64
	var product [3][3]uint64
	for i := range s.Train.Len() {
		im := s.Train.Image(i)
		for a := range 3 {
			for b := range a + 1 {
				x, y := im[a*plane:(a+1)*plane], im[b*plane:(b+1)*plane]
				dot, total := uint64(0), uint64(0)
				for p := range x {
					dot += uint64(x[p]) * uint64(y[p])
					total += uint64(x[p])
				}
				product[a][b] += dot
				if a == b {
					sum[a] += total
				} else {
					product[b][a] += dot
				}
			}
		}
	}
	n := float64(s.Train.Len() * plane)
	for k, p := range colourComponents {
		for a := range 3 {
			got := 0.0
			for b := range 3 {
				cov := (float64(product[a][b])/n - float64(sum[a])/n*float64(sum[b])/n) / 255 / 255
				got += cov * float64(p[b])
			}
			if want := float64(colourVariances[k] * p[a]); math.Abs(got-want) > 2e-4 {
				t.Errorf("component %d: row %d of C p = %v, want %v", k, a, got, want)
			}
		}
	}
}
