package systemdtest

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"tenement.dev/dbusctl"
)

// testLossy: the end of a job is never announced. Its waiters ask.
func testLossy(t *testing.T) {
	p := newProxy(t, func(m *dbus.Message) bool { return isSignal(m, "JobRemoved") })
	t.Setenv(busVariable(), p.address)
	c, r := connect(t)
	ctx := within(t, limit)

	good, bad, stopped := newName()+".service", newName()+".service", newName()+".service"
	removeAfter(t, good, bad, stopped)
	begin := time.Now()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := c.StartTransient(ctx, service(good, "exec sleep 1000")); err != nil {
			t.Errorf("a start: %v", err)
		}
	})
	wg.Go(func() {
		var job *dbusctl.JobError
		if err := c.StartTransient(ctx, oneshot(bad, "exit 1")); !errors.As(err, &job) || job.Result != dbusctl.ResultUnknown {
			t.Errorf("a start that fails: got %v, want the result %q", err, dbusctl.ResultUnknown)
		}
	})
	wg.Wait()
	took := time.Since(begin)
	t.Logf("two starts took %v", took)

	// A reload is a reason to ask at once.
	mark := r.mark()
	begin = time.Now()
	wg.Go(func() {
		if err := c.StartTransient(ctx, service(stopped, "exec sleep 1000")); err != nil {
			t.Errorf("a start: %v", err)
		}
	})
	r.waitState(t, mark, stopped, "active")
	systemctl(t, "daemon-reload")
	wg.Wait()
	if after := time.Since(begin); after > took/2 {
		t.Errorf("after a reload it took %v, without one %v", after, took)
	}
	// The cleanup of removeAfter stops them over the same line.
}

// testStalled: the other side reads no more, and says nothing.
func testStalled(t *testing.T) {
	p := newProxy(t, func(*dbus.Message) bool { return false })
	t.Setenv(busVariable(), p.address)
	c, _ := connect(t)
	p.stall()
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	big := strings.Repeat("x", 64<<10) // 90 of them are more than a socket holds
	begin := time.Now()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			u := service(newName()+".service", big)
			if err := c.StartTransient(ctx, u); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the context's end", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); took > 5*time.Second {
		t.Errorf("the callers came back after %v", took)
	}
	// The cleanup of connect ends Run with writers still blocked.
}
