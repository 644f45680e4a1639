package model

import (
	"fmt"
	"strings"
)

// suggestion returns " (did you mean X?)" for the name nearest to a misspelt
// one, or nothing where none is near.
func suggestion(name string, known []string) string {
	best, nearest := len(name)/2+1, ""
	for _, k := range known {
		if d := distance(strings.ToLower(name), k); d < best {
			best, nearest = d, k
		}
	}
	if nearest == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s?)", nearest)
}

// distance is Levenshtein's: the fewest bytes to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
