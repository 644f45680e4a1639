package driver

import "testing"

func TestWhatLosesAContextIsSticky(t *testing.T) {
	for code, want := range map[int]bool{1: false, 2: false, 100: false, 700: true, 719: true} {
		if got := (&Error{Code: code}).Sticky(); got != want {
			t.Errorf("code %d: sticky %v, want %v", code, got, want)
		}
	}
	if got := (&Error{"cuInit", 1, "N", -1}).Error(); got != "cuInit: N (1)" {
		t.Errorf("an error of no device is %q", got)
	}
}
