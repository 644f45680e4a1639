package model

import "testing"

func TestSuggestionIsTheNearestName(t *testing.T) {
	known := []string{"alexnet", "alexnet-lrn", "lenet5"}
	for _, tc := range []struct{ name, want string }{
		{"alexnt", " (did you mean alexnet?)"},
		{"AlexNet", " (did you mean alexnet?)"},
		{"alexnet_lrn", " (did you mean alexnet-lrn?)"},
		{"lenet", " (did you mean lenet5?)"},
		{"vgg16", ""},
		{"", ""},
		{"x", ""},
	} {
		if got := suggestion(tc.name, known); got != tc.want {
			t.Errorf("suggestion(%q) = %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestDistanceIsTheFewestEdits(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"abc", "", 3},
		{"", "abc", 3},
		{"abc", "abc", 0},
		{"kitten", "sitting", 3},
		{"flaw", "lawn", 2},
		{"ab", "ba", 2},
	} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
