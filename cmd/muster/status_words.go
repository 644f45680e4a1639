package main

import (
	"fmt"
	"strings"
)

func listed(parts []string) string {
	if len(parts) == 0 {
		return unknown
	}
	return strings.Join(parts, ", ")
}

// shardNames are as in "shard 3", "shards 0-3,5".
func shardNames(s []uint32) string {
	if len(s) == 1 {
		return "shard " + ranges(s)
	}
	return "shards " + ranges(s)
}

// ranges writes ascending numbers as 0-3,5.
func ranges(s []uint32) string {
	var parts []string
	for i := 0; i < len(s); {
		j := i + 1
		for j < len(s) && s[j] == s[j-1]+1 {
			j++
		}
		part := fmt.Sprint(s[i])
		if j-i > 1 {
			part += fmt.Sprintf("-%d", s[j-1])
		}
		parts = append(parts, part)
		i = j
	}
	if len(parts) == 0 {
		return unknown
	}
	return strings.Join(parts, ",")
}

// size writes bytes in the largest unit of which there is one.
func size(bytes uint64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%d B", bytes)
	}
	x, unit := float64(bytes), ""
	for _, unit = range []string{"KiB", "MiB", "GiB", "TiB"} {
		if x /= 1 << 10; x < 1023.95 {
			break
		}
	}
	return fmt.Sprintf("%.1f %s", x, unit)
}

// decimal writes x whole, or with a digit after the point where it is small.
func decimal(x float64) string {
	if x < 9.95 {
		return fmt.Sprintf("%.1f", x)
	}
	return thousands(int(min(x, 1e15) + 0.5))
}

// span writes a time: 118 ms, 7.8 s, 12m30s, 3h05m.
func span(seconds float64) string {
	switch {
	case seconds < 0.9995:
		return fmt.Sprintf("%.0f ms", 1000*seconds)
	case seconds < 59.95:
		return fmt.Sprintf("%.1f s", seconds)
	}
	n := int64(min(seconds, 1e15) + 0.5)
	if n < 3600 {
		return fmt.Sprintf("%dm%02ds", n/60, n%60)
	}
	return fmt.Sprintf("%dh%02dm", n/3600, n/60%60)
}
