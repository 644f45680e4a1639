package wire

import "testing"

func TestParseSync(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want Sync
		ok   bool
	}{
		{"", Sync{}, true},
		{"sync", Sync{}, true},
		{"async", Sync{Relaxed: true}, true},
		{"ssp:1", Sync{Relaxed: true, Ahead: 1}, true},
		{"ssp:1000", Sync{Relaxed: true, Ahead: 1000}, true},
		{"ssp:0", Sync{}, false},
		{"ssp:1001", Sync{}, false},
		{"ssp:-1", Sync{}, false},
		{"ssp:+2", Sync{}, false},
		{"ssp:02", Sync{}, false},
		{"ssp:2x", Sync{}, false},
		{"ssp:", Sync{}, false},
		{"ssp", Sync{}, false},
		{"bsp", Sync{}, false},
		{"Async", Sync{}, false},
	} {
		got, err := ParseSync(tc.in)
		if got != tc.want || (err == nil) != tc.ok {
			t.Errorf("ParseSync(%q) = %+v, %v; want %+v, ok=%v", tc.in, got, err, tc.want, tc.ok)
		}
		if name := got.String(); tc.ok && tc.in != "" && name != tc.in {
			t.Errorf("ParseSync(%q) is told as %q", tc.in, name)
		}
	}
}
