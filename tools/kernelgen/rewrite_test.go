package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The bytes are those of binutils' assembler.
func TestDotPairsIsEncoded(t *testing.T) {
	for _, tc := range []struct {
		x, y, sum int
		want      [6]byte
	}{
		{0, 0, 0, [6]byte{0x62, 0xf2, 0x7e, 0x48, 0x52, 0xc0}},
		{2, 4, 0, [6]byte{0x62, 0xf2, 0x5e, 0x48, 0x52, 0xc2}},
		{28, 30, 0, [6]byte{0x62, 0x92, 0x0e, 0x40, 0x52, 0xc4}},
		{29, 30, 27, [6]byte{0x62, 0x02, 0x0e, 0x40, 0x52, 0xdd}},
		{9, 17, 8, [6]byte{0x62, 0x52, 0x76, 0x40, 0x52, 0xc1}},
		{16, 15, 31, [6]byte{0x62, 0x22, 0x06, 0x48, 0x52, 0xf8}},
	} {
		if got := encodeDotPairs(tc.x, tc.y, tc.sum); got != tc.want {
			t.Errorf("VDPBF16PS Z%d, Z%d, Z%d is % x, want % x", tc.x, tc.y, tc.sum, got, tc.want)
		}
	}
}

func TestRewriteReplacesTheInstruction(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.s")
	if err := os.WriteFile(path, []byte("turn:\n\tVDPBF16PS Z28, Z30, Z0\n\tVFMADD231PS  Z28, Z30, Z1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := rewrite(path); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "turn:\n\tLONG $0x400e9262; WORD $0xc452 // VDPBF16PS Z28, Z30, Z0\n\tVFMADD231PS  Z28, Z30, Z1\n"
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
