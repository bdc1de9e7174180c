package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// style is how programs ask terminals for colours (ECMA-48, SGR).
var style = regexp.MustCompile("\x1b\\[[0-9;:]*m")

// clean makes one line of s that does nothing to a terminal: colours are left out, and
// other control characters and those that change the direction of text are replaced.
func clean(s string) string {
	s = style.ReplaceAllString(s, "")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return r
		case r == '\n', r == '\r':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// age is a duration as a table has it: the largest unit only.
func age(d time.Duration) string {
	switch {
	case d < time.Second:
		return "now"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	default:
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
}

// millis is a number of milliseconds for people.
func millis(ms float64) string {
	switch {
	case ms < 10:
		return fmt.Sprintf("%.1f ms", ms)
	case ms < 10_000:
		return fmt.Sprintf("%.0f ms", ms)
	default:
		return fmt.Sprintf("%.1f s", ms/1000)
	}
}

// printJSON prints a value over several lines.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printJSONLine prints a value on one line.
func printJSONLine(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// oneCell is s for a table's cell.
func oneCell(s string) string { return strings.ReplaceAll(clean(s), "\t", " ") }
