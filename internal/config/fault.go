package config

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a configuration file.
type Fault struct {
	// File is the file's name as it was given to Load or Parse; Line counts from 1.
	File string `json:"file"`
	Line int    `json:"line"`
	// Key is the dotted key, such as service.notes.health, empty where the file is
	// not TOML at all.
	Key string `json:"key,omitempty"`
	// Msg is one line of what is wrong, Hint one line of what to do, maybe empty.
	Msg  string `json:"message"`
	Hint string `json:"hint,omitempty"`
}

// String prints f as one line: FILE:LINE: KEY: MSG; HINT.
func (f Fault) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", f.File, f.Line)
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Msg)
	if f.Hint != "" {
		b.WriteString("; " + f.Hint)
	}
	return b.String()
}

// Faults is everything that is wrong with a configuration file, in the order of its
// lines; never empty when it is returned as an error.
type Faults []Fault

// Error prints one line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	return strings.Join(lines, "\n")
}

// sorted puts fs in the order of lines; those on one line stay as they were found.
func (fs Faults) sorted() Faults {
	slices.SortStableFunc(fs, func(a, b Fault) int { return a.Line - b.Line })
	return fs
}

// problem is a fault whose place is not known yet.
type problem struct {
	msg, hint string
	// element counts from 1 where one element of an array is meant, else 0.
	element int
}
