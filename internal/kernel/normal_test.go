package kernel

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"testing"

	"github.com/muster-train/muster/internal/philox"
)

func TestNormalIsAFunctionOfTheStream(t *testing.T) {
	a, b := philox.New(7, philox.Init+3, 1, 2), philox.New(7, philox.Init+3, 1, 2)
	for i := range 1000 {
		if x, y := Normal(&a), Normal(&b); x != y {
			t.Fatalf("draw %d = %x and %x from equal streams", i, x, y)
		}
	}
	c := philox.New(7, philox.Init+4, 1, 2)
	if x, y := Normal(&a), Normal(&c); x == y {
		t.Errorf("streams of different purposes both draw %x", x)
	}
}

// What is drawn decides the initial parameters of every job.
func TestNormalGivesTheSameBitsEverywhere(t *testing.T) {
	const want = "5fb0591a4db904fd61999b8e148adaf2f3455fcbf6d0a0e2325aa6936e6b14c2"
	s := philox.New(1, philox.Init, 0, 0)
	hash := sha256.New()
	for range 50_000 {
		hash.Write(binary.LittleEndian.AppendUint32(nil, bitsOf(Normal(&s))))
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		t.Errorf("hash of the draws = %s, want %s", got, want)
	}
}

func TestNormalFollowsTheBell(t *testing.T) {
	const (
		n     = 400_000
		width = 0.25 // of a bin
		bins  = 32   // from -4 to 4
	)
	s := philox.New(2, philox.Init, 0, 0)
	var count [bins]int
	var sum, square, fourth float64
	for range n {
		x := float64(Normal(&s))
		sum += x
		square += x * x
		fourth += x * x * x * x
		if i := int(math.Floor(x/width)) + bins/2; i >= 0 && i < bins {
			count[i]++
		}
	}
	// Five standard errors each.
	for _, m := range []struct {
		name              string
		got, want, within float64
	}{
		{"mean", sum / n, 0, 5 / math.Sqrt(n)},
		{"mean square", square / n, 1, 5 * math.Sqrt(2.0/n)},
		{"mean fourth power", fourth / n, 3, 5 * math.Sqrt(96.0/n)},
	} {
		if math.Abs(m.got-m.want) > m.within {
			t.Errorf("%s of %d draws = %.5f, want %v within %.5f", m.name, n, m.got, m.want, m.within)
		}
	}
	below := func(x float64) float64 { return 0.5 * math.Erfc(-x/math.Sqrt2) }
	for i, got := range count {
		lo := (float64(i) - bins/2) * width
		p := below(lo+width) - below(lo)
		if want, within := n*p, 5*math.Sqrt(n*p)+5; math.Abs(float64(got)-want) > within {
			t.Errorf("%d of %d draws are from %v to %v, want %.0f within %.0f", got, n, lo, lo+width, want, within)
		}
	}
}

func TestUnitIsExactSymmetricAndNeverZero(t *testing.T) {
	for _, tc := range []struct {
		word uint32
		want float64
	}{
		{0, -1 + 0x1p-32},
		{1<<31 - 1, -0x1p-32},
		{1 << 31, 0x1p-32},
		{1<<32 - 1, 1 - 0x1p-32},
	} {
		if got := unit(tc.word); got != tc.want {
			t.Errorf("unit(%#x) = %x, want %x", tc.word, got, tc.want)
		}
	}
}
