package dataset

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

func TestTransformValidate(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tc := range []struct {
		tr   Transform
		want string
	}{
		{Transform{}, ""},
		{Transform{Side: 32}, ""},
		{Transform{Side: 227, Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.2, 0.2, 0.2}}, ""},
		{Transform{Side: 1024}, ""},
		{Transform{Side: 31}, "input size 31: must be 32 to 1024"},
		{Transform{Side: -1}, "input size -1: must be 32 to 1024"},
		{Transform{Side: 1025}, "input size 1025: must be 32 to 1024"},
		{Transform{Mean: [3]float32{0, nan, 0}}, "mean NaN of channel 1"},
		{Transform{Mean: [3]float32{inf, 0, 0}}, "mean +Inf of channel 0"},
		{Transform{Std: [3]float32{1, 1, -1}}, "deviation -1 of channel 2"},
		{Transform{Std: [3]float32{nan, 1, 1}}, "deviation NaN of channel 0"},
		{Transform{Std: [3]float32{1, inf, 1}}, "deviation +Inf of channel 1"},
	} {
		err := tc.tr.Validate()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: Validate() = %v, want %q", tc.tr, err, tc.want)
		}
	}
}

func TestTestTransformScalesAndNormalises(t *testing.T) {
	pixels := someImages(1, 3).Pixels
	tr := Transform{
		Mean: [3]float32{0.4914, 0.4822, 0.4465}, Std: [3]float32{0.247, 0, 0.2616},
		Augment: PadCrop | Flip | ColourPCA, // not in testing
	}
	got := make([]float32, tr.Len())
	tr.Test(got, pixels)
	plain := make([]float32, tr.Len())
	Transform{}.Test(plain, pixels)
	for i, p := range pixels {
		c := i / plane
		std := tr.Std[c]
		if std == 0 {
			std = 1
		}
		if want := float32(p) / 255; plain[i] != want {
			t.Fatalf("value %d of byte %d = %v, want %v", i, p, plain[i], want)
		}
		if want := (float32(p)/255 - tr.Mean[c]) / std; got[i] != want {
			t.Fatalf("normalised value %d of byte %d = %v, want %v", i, p, got[i], want)
		}
	}
}

// naive prepares an image the way the words say it, one step after the other.
func naive(tr Transform, pixels []byte, c choice) []float32 {
	out := make([]float32, PixelBytes)
	for ch := range Channels {
		for y := range Side {
			for x := range Side {
				sx := x
				if c.flip {
					sx = Side - 1 - x
				}
				sy := y + c.dy
				sx += c.dx
				v := float32(0)
				if sy >= 0 && sy < Side && sx >= 0 && sx < Side {
					v = float32(pixels[ch*plane+sy*Side+sx]) / 255
				}
				std := tr.Std[ch]
				if std == 0 {
					std = 1
				}
				out[ch*plane+y*Side+x] = (v + c.shift[ch] - tr.Mean[ch]) / std
				if c.cut && c.cy-hole/2 <= y && y < c.cy+hole/2 && c.cx-hole/2 <= x && x < c.cx+hole/2 {
					out[ch*plane+y*Side+x] = 0
				}
			}
		}
	}
	return out
}

func TestTrainTransformEqualsTheNaiveOne(t *testing.T) {
	im := someImages(4, 1)
	for a := range (PadCrop | Flip | ColourPCA | Cutout) + 1 {
		tr := Transform{Mean: [3]float32{0.5, 0.4, 0.3}, Std: [3]float32{0.25, 0.5, 0}, Augment: a}
		got := make([]float32, tr.Len())
		for index := range uint32(60) {
			pixels := im.Image(int(index) % 4)
			tr.Train(got, pixels, 5, 9, index)
			want := naive(tr, pixels, a.choose(5, 9, index))
			if i := firstDifference(got, want); i >= 0 {
				t.Fatalf("augment %v image %d (%+v): value %d = %v, want %v", a, index, a.choose(5, 9, index), i, got[i], want[i])
			}
		}
	}
}

func firstDifference(got, want []float32) int {
	for i := range want {
		if got[i] != want[i] {
			return i
		}
	}
	return -1
}

func TestResizeMatchesPyTorch(t *testing.T) {
	var golden struct {
		Resize []struct {
			Side  int
			At    []int
			Value []float32
		}
	}
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Resize) == 0 {
		t.Fatal("no golden values")
	}
	var pixels [PixelBytes]byte
	for i := range pixels {
		pixels[i] = byte(i * 7919 % 251)
	}
	for _, g := range golden.Resize {
		tr := Transform{Side: g.Side}
		got := make([]float32, tr.Len())
		tr.Test(got, pixels[:])
		for k, i := range g.At {
			if d := math.Abs(float64(got[i] - g.Value[k])); d > 2e-6 {
				t.Errorf("side %d: value %d = %v, want %v", g.Side, i, got[i], g.Value[k])
			}
		}
	}
}

func TestResizeKeepsAFlatImageFlat(t *testing.T) {
	tr := Transform{Side: 57}
	dst := make([]float32, tr.Len())
	pixels := make([]byte, PixelBytes)
	for i := range pixels {
		pixels[i] = byte(50 * (1 + i/plane))
	}
	tr.Test(dst, pixels)
	for i, v := range dst {
		if want := float32(50*(1+i/(57*57))) / 255; math.Abs(float64(v-want)) > 1e-6 {
			t.Fatalf("value %d = %v, want %v", i, v, want)
		}
	}
}

func TestSourceStaysInside(t *testing.T) {
	for side := Side + 1; side <= maxSide; side++ {
		scale := float32(Side) / float32(side)
		last := 0
		for i := range side {
			a, b, f := source(i, scale)
			if a < last || b < a || b > a+1 || b >= Side || f < 0 || f >= 1 {
				t.Fatalf("side %d: pixel %d lies %v between %d and %d", side, i, f, a, b)
			}
			last = a
		}
		if last != Side-1 {
			t.Fatalf("side %d: the last pixel lies at %d", side, last)
		}
	}
}

func TestTransformWritesOnlyItsOwn(t *testing.T) {
	for _, side := range []int{0, 32, 40} {
		tr := Transform{Side: side, Augment: PadCrop}
		dst := slices.Repeat([]float32{-7}, tr.Len()+1)
		tr.Train(dst, someImages(1, 0).Pixels, 1, 1, 1)
		if dst[tr.Len()] != -7 {
			t.Errorf("side %d: wrote past the image", side)
		}
		if slices.Contains(dst[:tr.Len()], -7) {
			t.Errorf("side %d: left values unwritten", side)
		}
	}
}

func TestTransformAllocatesNothing(t *testing.T) {
	pixels := someImages(1, 0).Pixels
	for _, side := range []int{32, 48} {
		tr := Transform{Side: side, Augment: PadCrop | Flip | ColourPCA}
		dst := make([]float32, tr.Len())
		if n := testing.AllocsPerRun(10, func() { tr.Train(dst, pixels, 1, 2, 3) }); n != 0 {
			t.Errorf("side %d: allocates %v times an image, want 0", side, n)
		}
	}
}

func BenchmarkTransformTrain(b *testing.B) {
	pixels := someImages(1, 0).Pixels
	tr := Transform{Mean: [3]float32{0.5, 0.5, 0.5}, Std: [3]float32{0.25, 0.25, 0.25}, Augment: PadCrop | Flip}
	dst := make([]float32, tr.Len())
	b.SetBytes(PixelBytes)
	i := uint32(0)
	for b.Loop() {
		tr.Train(dst, pixels, 1, 2, i)
		i++
	}
}

func BenchmarkResize224(b *testing.B) {
	pixels := someImages(1, 0).Pixels
	tr := Transform{Side: 224}
	dst := make([]float32, tr.Len())
	for b.Loop() {
		tr.Test(dst, pixels)
	}
}
