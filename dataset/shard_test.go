package dataset

import (
	"strings"
	"testing"
)

func TestParseShard(t *testing.T) {
	const form = "must be INDEX/COUNT, two whole numbers such as 3/8"
	for _, tc := range []struct {
		in   string
		want Shard
		err  string // part of the message; "": none
	}{
		{"0/1", Shard{0, 1}, ""},
		{"0/8", Shard{0, 8}, ""},
		{"7/8", Shard{7, 8}, ""},
		{"65535/65536", Shard{65535, 65536}, ""},
		{"8/8", Shard{}, `shard "8/8": index must be 0 to 7`},
		{"1/1", Shard{}, `shard "1/1": index must be 0, for there is one shard`},
		{"1/0", Shard{}, `shard "1/0": count must be 1 to 65536`},
		{"0/0", Shard{}, `shard "0/0": count must be 1 to 65536`},
		{"0/65537", Shard{}, "count must be 1 to 65536"},
		{"3/8x", Shard{}, `shard "3/8x": ` + form},
		{"x3/8", Shard{}, form},
		{"-1/8", Shard{}, form},
		{"+1/8", Shard{}, form},
		{" 1/8", Shard{}, form},
		{"1/8 ", Shard{}, form},
		{"1/8/9", Shard{}, form},
		{"1//8", Shard{}, form},
		{"/8", Shard{}, form},
		{"3/", Shard{}, form},
		{"3", Shard{}, form},
		{"", Shard{}, `shard "": ` + form},
		{"0x1/8", Shard{}, form},
		{"1_0/80", Shard{}, form},
		{"3/99999999999999999999", Shard{}, form},
	} {
		got, err := ParseShard(tc.in)
		if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("ParseShard(%q) = %v, %v; want %v, %q", tc.in, got, err, tc.want, tc.err)
		}
	}
}

func TestShardStringParsesBack(t *testing.T) {
	for _, s := range []Shard{{0, 1}, {3, 8}, {9, 10}} {
		if got, err := ParseShard(s.String()); got != s || err != nil {
			t.Errorf("ParseShard(%q) = %v, %v; want %v", s.String(), got, err, s)
		}
	}
}

func TestShardValidateRefusesNegatives(t *testing.T) {
	for _, s := range []Shard{{-1, 8}, {0, -1}, {}, {8, 8}} {
		if s.Validate() == nil {
			t.Errorf("Shard %v is called valid", s)
		}
	}
}
