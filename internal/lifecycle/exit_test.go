package lifecycle

import (
	"testing"

	"tenement.dev/units"
)

// ten-init ends with 128 more than the signal that ended its app, which is told as a signal.
func TestDescribeExit(t *testing.T) {
	for want, exit := range map[string]units.Exit{
		"status 3":                 {Code: 1, Status: 3, Result: "exit-code"},
		"signal 9 (SIGKILL)":       {Code: 1, Status: 137, Result: "exit-code"},
		"signal 11 (SIGSEGV)":      {Code: 2, Status: 11, Result: "signal"},
		"status 128":               {Code: 1, Status: 128, Result: "exit-code"},
		"status 255":               {Code: 1, Status: 255, Result: "exit-code"},
		"out of memory (oom-kill)": {Code: 2, Status: 9, Result: "oom-kill"},
	} {
		if got := describeExit(exit); got != want {
			t.Errorf("%+v: got %q, want %q", exit, got, want)
		}
	}
}
