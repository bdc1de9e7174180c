package config

import (
	"fmt"
	"strings"
)

// suggest is the hint for a name that is none of known: the one that was probably
// meant, or else all of them.
func suggest(name string, known []string) string {
	if best := nearest(name, known); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(known) == 0 {
		return ""
	}
	return "known: " + strings.Join(known, ", ")
}

// nearest gives the name in known that differs from name by the fewest edits, or ""
// if even that one differs by more than a third of its length. The first of equals
// wins.
func nearest(name string, known []string) string {
	best, fewest := "", 0
	for _, k := range known {
		edits := distance(strings.ToLower(name), strings.ToLower(k))
		if edits <= max(1, len(k)/3) && (best == "" || edits < fewest) {
			best, fewest = k, edits
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of neighbours
// (optimal string alignment) that make b of a, byte by byte.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
