package tenant

import (
	"fmt"
	"slices"
	"strings"
)

// Level bounds how urgent a line of a log is, from the most urgent one on.
type Level uint8

// AnyLevel is no bound.
const AnyLevel Level = 0

// levels are the names of the levels, as in syslog(3) and journalctl -p.
var levels = []string{"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"}

// levelAliases are what people and other programs call them too.
var levelAliases = map[string]string{
	"emergency": "emerg", "panic": "emerg", "critical": "crit", "fatal": "crit", "error": "err", "warn": "warning", "trace": "debug",
}

// ParseLevel parses a level by its name or number, as journalctl -p does; also "error"
// and "warn". The error is an *Error with CodeInvalid.
func ParseLevel(s string) (Level, error) {
	name := strings.ToLower(s)
	if full, ok := levelAliases[name]; ok {
		name = full
	}
	if i := slices.Index(levels, name); i >= 0 {
		return Level(i + 1), nil
	}
	if len(s) == 1 && '0' <= s[0] && s[0] <= '7' {
		return Level(s[0] - '0' + 1), nil
	}
	return AnyLevel, &Error{
		Code: CodeInvalid,
		Msg:  fmt.Sprintf("%.80q is not a level", s),
		Hint: "there are: " + strings.Join(levels, ", "),
	}
}

// String is the level's name, empty for AnyLevel.
func (l Level) String() string {
	if l == AnyLevel || int(l) > len(levels) {
		return ""
	}
	return levels[l-1]
}

// Priority is the level as syslog(3) numbers it, 0 (emergency) to 7 (debug), which is
// also what it is without a bound.
func (l Level) Priority() int {
	if l == AnyLevel {
		return len(levels) - 1
	}
	return int(l) - 1
}

// Has reports whether a line of this priority is urgent enough.
func (l Level) Has(priority int) bool { return priority <= l.Priority() }
