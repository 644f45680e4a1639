package bench

import (
	"cmp"
	"slices"
)

// median is the middle of x, of two middle ones the lower; zero where x is empty.
func median[T cmp.Ordered](x []T) T {
	if len(x) == 0 {
		var zero T
		return zero
	}
	sorted := slices.Sorted(slices.Values(x))
	return sorted[(len(sorted)-1)/2]
}
