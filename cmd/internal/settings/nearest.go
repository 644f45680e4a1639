package settings

import "strings"

// didYouMean is "; did you mean X?" with the known word nearest to word, or
// nothing where none is near. prefix goes before the word.
func didYouMean(word string, known []string, prefix string) string {
	if n := nearest(word, known); n != "" {
		return "; did you mean " + prefix + n + "?"
	}
	return ""
}

// nearest returns the known word that the fewest edits turn word into, the
// first of equals, or "" where all need more than a third of its letters (two
// are always allowed, but never the whole word). A word of which word is the
// beginning is near too.
func nearest(word string, known []string) string {
	word = strings.ToLower(word)
	best, least := "", min(max(2, len(word)/3), len(word)-1)+1
	for _, k := range known {
		if d := edits(word, strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best == "" && len(word) >= 3 {
		for _, k := range known {
			if strings.HasPrefix(strings.ToLower(k), word) {
				return k
			}
		}
	}
	return best
}

// edits counts the insertions, deletions, replacements and swaps of neighbours
// that turn a into b (optimal string alignment).
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
