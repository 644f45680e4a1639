package model_test

// The golden tests compare with PyTorch: testdata/golden.py computes, in
// float64, what a device must compute in float32.

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/muster-train/muster/model/device"
	"github.com/muster-train/muster/model/device/cpu"
)

// goldenHeader says what wrote a file.
type goldenHeader struct {
	Torch, Numpy string
	Seed         uint64 // keys dropout
}

// readGolden reads a file of testdata into cases, a pointer to a slice.
func readGolden(t *testing.T, name string, cases any) goldenHeader {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	file := struct {
		Header goldenHeader
		Cases  any
	}{Cases: cases}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if file.Header.Torch == "" || file.Header.Seed == 0 {
		t.Fatalf("%s: header %+v lacks version or seed", name, file.Header)
	}
	return file.Header
}

// goldenDevice returns a device that is closed when the test ends.
func goldenDevice(t *testing.T) device.Device {
	t.Helper()
	d, err := cpu.New(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// word is a 32-bit word of a stream, as testdata/golden_values.py makes it.
func word(stream, place uint32) uint32 {
	x := place*0x9e3779b1 + stream*0x85ebca77
	x = (x ^ x>>16) * 0x7feb352d
	x = (x ^ x>>15) * 0x846ca68b
	return x ^ x>>16
}

// uniform is a value in [-scale, scale).
func uniform(stream, place uint32, scale float32) float32 {
	return float32(int32(word(stream, place)>>8)-1<<23) * (1.0 / (1 << 23)) * scale
}

// pixel is a value in [0, 1).
func pixel(stream, place uint32) float32 {
	return float32(word(stream, place)>>8) * (1.0 / (1 << 24))
}

// tolerance allows |got-want| <= atol*scale + rtol*|want|, where scale is the
// root mean square of all that is wanted, at most 1: so that small gradients
// are not compared with a tolerance larger than themselves.
type tolerance struct{ atol, rtol float64 }

var (
	forward  = tolerance{1e-6, 1e-4}
	backward = tolerance{1e-4, 1e-3}
)

// compare fails the test where a value of got is too far from want's, and names
// the worst.
func (tol tolerance) compare(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	wide := make([]float64, len(got))
	for i, v := range got {
		wide[i] = float64(v)
	}
	tol.compare64(t, what, wide, want)
}

func (tol tolerance) compare64(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d values, want %d", what, len(got), len(want))
		return
	}
	scale := min(1, norm(want)/math.Sqrt(float64(max(len(want), 1))))
	worst, excess, bad := 0, 0.0, 0
	for i, w := range want {
		off := math.Abs(got[i]-w) / (tol.atol*scale + tol.rtol*math.Abs(w))
		if got[i] == w {
			off = 0 // 0 of an allowed 0
		}
		if !(off <= 1) {
			bad++
		}
		if !(off <= excess) {
			worst, excess = i, off
		}
	}
	if bad > 0 {
		t.Errorf("%s: %d of %d values are off; the worst at %d: got %v, want %v, %.3g times what is allowed",
			what, bad, len(want), worst, got[worst], want[worst], excess)
	}
}

// norm returns the Euclidean norm.
func norm(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return math.Sqrt(sum)
}
