package work

import (
	"strings"
	"testing"

	"github.com/muster-train/muster/dataset"
)

func TestParseShard(t *testing.T) {
	for _, tc := range []struct {
		text, index string // index: JOB_COMPLETION_INDEX
		want        *dataset.Shard
		err         string // part of the message; "": none
	}{
		{"", "", nil, ""},
		{"", "5", nil, ""}, // only auto asks for the variable
		{"3/8", "", &dataset.Shard{Index: 3, Count: 8}, ""},
		{"3/8", "5", &dataset.Shard{Index: 3, Count: 8}, ""},
		{"auto/8", "5", &dataset.Shard{Index: 5, Count: 8}, ""},
		{"auto/8", "0", &dataset.Shard{Index: 0, Count: 8}, ""},
		{"auto/8", "", nil, "JOB_COMPLETION_INDEX"},
		{"auto/8", "8", nil, `"8/8": index must be 0 to 7`},
		{"auto/8", "five", nil, `"five/8"`},
		{"auto/", "5", nil, `"5/"`},
		{"auto", "5", nil, `"auto"`},
		{"8/8", "", nil, "index must be 0 to 7"},
		{"3/8x", "", nil, "two whole numbers"},
		{"1/0", "", nil, "count must be"},
	} {
		t.Setenv("JOB_COMPLETION_INDEX", tc.index)
		got, err := ParseShard(tc.text)
		if (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
			t.Errorf("ParseShard(%q) with index %q: %v, want %q", tc.text, tc.index, err, tc.err)
		}
		if (got == nil) != (tc.want == nil) || got != nil && *got != *tc.want {
			t.Errorf("ParseShard(%q) with index %q = %v, want %v", tc.text, tc.index, got, tc.want)
		}
	}
}
