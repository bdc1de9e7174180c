package tenant

import (
	"fmt"
	"strings"
)

// MaxRelease is the longest name of a release in bytes; a SHA-256 in hexadecimal has as
// many.
const MaxRelease = 64

// CheckRelease checks the name of a release: it becomes part of paths and command lines.
// The error is an *Error with CodeInvalid.
func CheckRelease(s string) error {
	valid := 0 < len(s) && len(s) <= MaxRelease && !strings.Contains(s, "..")
	for i := 0; valid && i < len(s); i++ {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte(".-_+", c) >= 0 && i > 0:
		default:
			valid = false
		}
	}
	if valid {
		return nil
	}
	return &Error{
		Code: CodeInvalid,
		Msg:  fmt.Sprintf("%.80q is not the name of a release", s),
		Hint: fmt.Sprintf("use 1 to %d letters, digits, dots, hyphens, underscores and plus signs, a letter or digit first, and no two dots together", MaxRelease),
	}
}

// Released is what is known of an instance's release.
type Released struct {
	ID ID
	// State is as in a Snapshot.
	State State
	// Release is the one that its next start gets, Running the one that its process has
	// been started with: empty where it has none, or nobody knows.
	Release, Running string
	// Before is the one that it had before the rollout which goes on has changed it.
	Before string
	Step   Step
}

// Step is how far a rollout has got with an instance.
type Step uint8

// The steps. They are stored: their values do not change.
const (
	StepNone     Step = 0 // not changed, or not by a rollout that goes on
	StepChanging Step = 1 // it has another release, with which it may not have been started yet
	StepChanged  Step = 2 // it runs with it, or will with its next start
)
