package device

import (
	"strings"
	"testing"
)

func TestPrecisionsHaveNames(t *testing.T) {
	for _, p := range []Precision{F32, BF16} {
		if got, err := ParsePrecision(p.String()); err != nil || got != p {
			t.Errorf("ParsePrecision(%q) = %v, %v", p, got, err)
		}
	}
	if got, err := ParsePrecision(""); err != nil || got != F32 {
		t.Errorf("no name: %v, %v; want f32", got, err)
	}
	for _, bad := range []string{"fp16", "BF16", "f32 "} {
		if _, err := ParsePrecision(bad); err == nil || !strings.Contains(err.Error(), bad) || !strings.Contains(err.Error(), "f32 or bf16") {
			t.Errorf("ParsePrecision(%q): %v", bad, err)
		}
	}
	if s := Precision(7).String(); s != "precision 7" {
		t.Errorf("an unknown precision is called %q", s)
	}
}
