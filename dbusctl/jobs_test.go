package dbusctl

import (
	"fmt"
	"sync"
	"testing"

	"github.com/godbus/dbus/v5"
)

func jobPath(n int) dbus.ObjectPath {
	return dbus.ObjectPath(fmt.Sprintf("/org/freedesktop/systemd1/job/%d", n))
}

func wantResult(t *testing.T, w *waiter, want string) {
	t.Helper()
	select {
	case got := <-w.result:
		if got != want {
			t.Errorf("%s has the result %q, want %q", w.job, got, want)
		}
	default:
		t.Errorf("%s has no result, want %q", w.job, want)
	}
}

func TestJobsOrder(t *testing.T) {
	j := newJobs()

	// The reply comes first.
	w := j.wait(jobPath(1))
	j.removed(jobPath(2), "failed")
	if len(w.result) != 0 {
		t.Error("another job's end was taken for this one's")
	}
	j.removed(jobPath(1), "done")
	wantResult(t, w, "done")
	j.forget(w)

	// The signal comes first.
	w = j.wait(jobPath(2))
	wantResult(t, w, "failed")
	j.forget(w)

	// Two callers were given the same job; the second learns of it after its end.
	a, b := j.wait(jobPath(3)), j.wait(jobPath(3))
	j.removed(jobPath(3), "canceled")
	c := j.wait(jobPath(3))
	for _, w := range []*waiter{a, b, c} {
		wantResult(t, w, "canceled")
		j.forget(w)
	}

	// One of two gives up.
	a, b = j.wait(jobPath(4)), j.wait(jobPath(4))
	j.forget(a)
	j.removed(jobPath(4), "done")
	wantResult(t, b, "done")
	j.forget(b)

	if len(j.waiters) != 0 {
		t.Errorf("%d waiters are left", len(j.waiters))
	}
}

func TestJobsLook(t *testing.T) {
	j := newJobs()
	w := j.wait(jobPath(1))
	defer j.forget(w)
	j.look()
	j.look()
	if len(w.look) != 1 {
		t.Error("the waiter was not told to look")
	}
	j.removed(jobPath(2), "done")
	j.restart()
	other := j.wait(jobPath(2))
	defer j.forget(other)
	if len(other.result) != 0 {
		t.Error("a new manager's job got an old one's result")
	}
	j.removed(jobPath(1), "done") // a waiter stays over a restart: jobs do, too
	wantResult(t, w, "done")
}

func TestJobsBounded(t *testing.T) {
	j := newJobs()
	const n = 3*recentJobs + 7
	for i := range n {
		j.removed(jobPath(i), "done")
	}
	if len(j.recent) != recentJobs || len(j.order) != recentJobs {
		t.Errorf("remembers %d jobs in %d places, want %d", len(j.recent), len(j.order), recentJobs)
	}
	for i := range n {
		w := j.wait(jobPath(i))
		if got, want := len(w.result) == 1, i >= n-recentJobs; got != want {
			t.Errorf("job %d remembered: %v, want %v", i, got, want)
		}
		j.forget(w)
	}
	if len(j.waiters) != 0 {
		t.Errorf("%d waiters are left", len(j.waiters))
	}
}

// TestJobsConcurrent has ends and waits race each other.
func TestJobsConcurrent(t *testing.T) {
	j := newJobs()
	const n = 500
	var wg sync.WaitGroup
	for i := range n {
		for range 2 {
			wg.Go(func() {
				w := j.wait(jobPath(i))
				defer j.forget(w)
				if got, want := <-w.result, fmt.Sprint(i); got != want {
					t.Errorf("job %d has the result %q", i, got)
				}
			})
		}
		wg.Go(func() { j.removed(jobPath(i), fmt.Sprint(i)) })
		wg.Go(j.look)
	}
	wg.Wait()
	if len(j.waiters) != 0 {
		t.Errorf("%d waiters are left", len(j.waiters))
	}
}
