package fakeclock_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"tenement.dev/test/fakeclock"
)

// TestTimersOfOneInstant ends the whole test process where two threads run timers of one bubble:
// in each of three runs with synctest.Test, on two processors.
func TestTimersOfOneInstant(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	for range 10 {
		fakeclock.Test(t, func(*testing.T) {
			var wg sync.WaitGroup
			for range 300 {
				wg.Go(func() {
					for range 50 {
						timer := time.NewTimer(time.Second)
						time.Sleep(time.Second)
						select {
						case <-timer.C:
						default:
						}
						timer.Stop()
					}
				})
			}
			wg.Wait()
		})
	}
	if got := runtime.GOMAXPROCS(0); got != before {
		t.Errorf("got %d processors after the bubbles, want %d as before", got, before)
	}
}
