package wire

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/muster-train/muster/internal/kernel"
	musterv1 "github.com/muster-train/muster/proto/muster/v1"
)

const (
	inF32  = musterv1.Encoding_ENCODING_F32
	inBF16 = musterv1.Encoding_ENCODING_BF16
	inINT8 = musterv1.Encoding_ENCODING_INT8
)

func TestEncodingsHaveNames(t *testing.T) {
	for _, e := range []Encoding{F32, BF16, INT8} {
		if got, err := ParseEncoding(e.String()); err != nil || got != e {
			t.Errorf("ParseEncoding(%q) = %v, %v", e, got, err)
		}
		if !slices.Contains(Spoken(), e.Gradients()) || !slices.Contains(Spoken(), e.Parameters()) {
			t.Errorf("%v has chunks in %v and %v, spoken are %v", e, e.Gradients(), e.Parameters(), Spoken())
		}
	}
	if got, err := ParseEncoding(""); err != nil || got != F32 {
		t.Errorf("no name is %v, %v; want f32", got, err)
	}
	for _, bad := range []string{"fp8", "F32", "bf16 ", "int"} {
		if _, err := ParseEncoding(bad); err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "want one of f32, bf16, int8") {
			t.Errorf("ParseEncoding(%q): %v", bad, err)
		}
	}
	if s := Encoding(7).String(); s != "encoding 7" {
		t.Errorf("an unknown encoding is called %q", s)
	}
}

// TestEncodedPayloads is what other programs must write.
func TestEncodedPayloads(t *testing.T) {
	two := slices.Repeat([]float32{-2}, kernel.Int8Block+1)
	two[0], two[3], two[kernel.Int8Block] = 254, 3, 0.5
	quantized := "\x00\x00\x00\x40" + "\x04\x02\x81\x3b" + "\x7f\xff\xff\x02" + strings.Repeat("\xff", kernel.Int8Block-4) + "\x7f"
	for _, tc := range []struct {
		encoding musterv1.Encoding
		values   []float32
		want     string
	}{
		{inF32, []float32{1, -2}, "\x00\x00\x80\x3f\x00\x00\x00\xc0"},
		{inBF16, []float32{1, -2, 0x1.01p0, 0x1.010002p0, float32(math.Inf(-1))}, "\x80\x3f\x00\xc0\x80\x3f\x81\x3f\x80\xff"},
		{inINT8, two, quantized}, // 3 is one and a half of the scale: ties go to even
		{inINT8, []float32{0, 0}, "\x00\x00\x00\x00\x00\x00"},
	} {
		p := Encode(tc.encoding, tc.values)
		encoding, got := p.onTheWire()
		if encoding != tc.encoding || string(got) != tc.want {
			t.Errorf("%v: %x in %v, want %x", tc.encoding, got, encoding, tc.want)
		}
		p.Free()
	}
}

// TestEncodedValuesComeBack sends chunks of every length at which something
// changes, and some of each of the live values in between.
func TestEncodedValuesComeBack(t *testing.T) {
	lengths := []int{0, 1, 2, 3, 31, 255, 256, 257, 511, 512, 513, 1000, ChunkBytes/4 - 1, ChunkBytes / 4}
	for _, e := range Spoken() {
		for _, n := range lengths {
			values := make([]float32, n)
			for i := range values {
				values[i] = float32(i%1013-500) / 7
			}
			sent := Encode(e, values)
			if sent.Len() != PayloadBytes(e, n) {
				t.Errorf("%v: %d values make %d bytes, want %d", e, n, sent.Len(), PayloadBytes(e, n))
			}
			got := GradientOf((&Gradient{Payload: sent}).Message()).Payload
			sent.Free()
			if err := got.Check(n, e); err != nil {
				t.Errorf("%v, %d values: %v", e, n, err)
				continue
			}
			if got.Len() != PayloadBytes(e, n) {
				t.Errorf("%v: %d values came as %d bytes, sent were %d", e, n, got.Len(), PayloadBytes(e, n))
			}
			for i, v := range got.Floats() {
				if !near(e, v, values[i]) {
					t.Errorf("%v: of %d values the one at %d came as %v, sent was %v", e, n, i, v, values[i])
					break
				}
			}
			got.Free()
		}
	}
}

// near tells whether what came is as near to what was sent as the encoding allows:
// half of the last bit, or of a scale of blocks whose largest value is at most 73.3.
func near(e musterv1.Encoding, came, sent float32) bool {
	difference := math.Abs(float64(came) - float64(sent))
	switch e {
	case inBF16:
		return difference <= math.Abs(float64(sent))/256
	case inINT8:
		return difference <= 73.3/127/2
	}
	return difference == 0
}

func TestWhatIsNotFiniteComesNotFinite(t *testing.T) {
	for _, e := range Spoken() {
		for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
			for _, at := range []int{0, 255, 256, 299} {
				values := make([]float32, 300)
				values[at] = bad
				p := Encode(e, values)
				got := GradientOf((&Gradient{Payload: p}).Message()).Payload
				if err := got.Check(len(values), e); err != nil {
					t.Fatal(err)
				}
				if kernel.Finite(got.Floats()) {
					t.Errorf("%v: %v at %d is not told any more", e, bad, at)
				}
				got.Free()
				p.Free()
			}
		}
	}
}

func TestPayloadsOfWrongLengthAreMalformed(t *testing.T) {
	for _, e := range Spoken() {
		right := map[int]bool{}
		for n := range 600 {
			right[PayloadBytes(e, n)] = true
		}
		for bytes := range 600 {
			data := make([]byte, bytes)
			c := &musterv1.GradientChunk{Encoding: e, Payload: data, Checksum: Checksum(data)}
			n, _ := valuesIn(e, bytes)
			p := GradientOf(c).Payload
			if err := p.Check(n, e); (err == nil) != right[bytes] || err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%v: %d bytes: %v", e, bytes, err)
			}
			if err := p.Check(n+1, e); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v: %d bytes were taken for %d values", e, bytes, n+1)
			}
			p.Free()
		}
		data := make([]byte, PayloadBytes(e, ChunkBytes/4+1))
		p := GradientOf(&musterv1.GradientChunk{Encoding: e, Payload: data, Checksum: Checksum(data)}).Payload
		if err := p.Check(ChunkBytes/4+1, e); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: more values than a chunk's: %v", e, err)
		}
		p.Free()
	}
}

// TestTheChecksumIsOfTheEncodedBytes damages each of them.
func TestTheChecksumIsOfTheEncodedBytes(t *testing.T) {
	for _, e := range Spoken() {
		whole := Encode(e, []float32{1, 2, 3})
		for i := range whole.bytes {
			c := (&Gradient{Payload: whole}).Message()
			c.Payload[i] ^= 0x10
			p := GradientOf(c).Payload
			if err := p.Check(3, e); !errors.Is(err, ErrMalformed) || !strings.Contains(err.Error(), "checksum") {
				t.Errorf("%v: byte %d is damaged: %v", e, i, err)
			}
			p.Free()
		}
	}
}

func TestChunksComeInTheirJobsEncoding(t *testing.T) {
	for _, sent := range Spoken() {
		for _, want := range Spoken() {
			p := Encode(sent, []float32{1, 2, 3})
			got := GradientOf((&Gradient{Payload: p}).Message()).Payload
			err := got.Check(3, want)
			if (err == nil) != (sent == want) || err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("sent in %v, wanted in %v: %v", sent, want, err)
			}
			got.Free()
			p.Free()
		}
	}
	// What has not travelled is in no encoding.
	for _, p := range []*Payload{payload(1, 2, 3), View([]float32{1, 2, 3})} {
		for _, want := range Spoken() {
			if err := p.Check(3, want); err != nil {
				t.Errorf("not sent, wanted in %v: %v", want, err)
			}
		}
	}
	if err := Encode(inBF16, []float32{1, 2}).Check(1, inBF16); !errors.Is(err, ErrMalformed) {
		t.Errorf("what is to be sent was taken for float32: %v", err)
	}
}

func ExamplePayloadBytes() {
	fmt.Println(PayloadBytes(inF32, 1000), PayloadBytes(inBF16, 1000), PayloadBytes(inINT8, 1000))
	// Output: 4000 2000 1016
}

func TestDecodedIsWhatAConnectionBrings(t *testing.T) {
	for _, e := range Spoken() {
		values := []float32{1, -0.5, 127, 3.1415927}
		got := Decoded(Encode(e, values))
		if err := got.Check(len(values), e); err != nil {
			t.Errorf("%v: %v", e, err)
		}
		for i, x := range got.Floats() {
			if math.Abs(float64(x-values[i])) > 0.51 {
				t.Errorf("%v: value %d is %v, of %v", e, i, x, values[i])
			}
		}
	}
}
