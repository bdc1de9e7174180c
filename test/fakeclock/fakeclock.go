// Package fakeclock runs tests on a clock of their own.
package fakeclock

import (
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
)

var running struct {
	sync.Mutex
	bubbles    int
	processors int // what GOMAXPROCS was before the first of them
}

// Test is synctest.Test with one processor for all that is Go while any bubble runs.
//
// With more, two threads may run timers of one bubble that are due in the same instant, and both
// do so in the bubble's one context of the race detector, which has no lock: the detector ends the
// test by "CHECK failed", or by SIGSEGV in its own code (https://go.dev/issue/78156, as of Go
// 1.26). It finds races with one processor too: it goes by what is ordered before what.
func Test(t *testing.T, f func(*testing.T)) {
	t.Helper()
	enter()
	defer leave()
	synctest.Test(t, f)
}

func enter() {
	running.Lock()
	defer running.Unlock()
	if running.bubbles == 0 {
		running.processors = runtime.GOMAXPROCS(1)
	}
	running.bubbles++
}

func leave() {
	running.Lock()
	defer running.Unlock()
	running.bubbles--
	if running.bubbles == 0 {
		runtime.GOMAXPROCS(running.processors)
	}
}
