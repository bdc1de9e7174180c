package systemdtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"tenement.dev/dbusctl"
	"tenement.dev/units"
)

func testParallel(t *testing.T) {
	const n = 50
	c, r := connect(t)
	ctx := within(t, 2*limit)
	var list []string
	for range n {
		list = append(list, newName()+".service")
	}
	removeAfter(t, list...)
	var wg sync.WaitGroup
	for i, name := range list {
		wg.Go(func() {
			script, want := "exec sleep 1000", ""
			if i%10 == 0 { // every tenth fails
				script, want = "exit 1", "failed"
			}
			u := service(name, script)
			if want != "" {
				u = oneshot(name, script)
			}
			err := c.StartTransient(ctx, u)
			var job *dbusctl.JobError
			if want == "" && err != nil || want != "" && (!errors.As(err, &job) || job.Result != want || job.Unit != name) {
				t.Errorf("start: got %v, want result %q", err, want)
			}
		})
	}
	wg.Wait()
	states, err := c.List(ctx)
	noError(t, "list", err)
	active := 0
	for _, st := range states {
		if slices.Contains(list, st.Name) && st.Active == "active" {
			active++
		}
	}
	if want := n - n/10; active != want {
		t.Errorf("%d are active, want %d", active, want)
	}
	begin := time.Now()
	noError(t, "stop", c.Stop(ctx, list...))
	t.Logf("stopped %d in %v", n, time.Since(begin))
	noError(t, "reset", c.ResetFailed(ctx, list...))
	for _, name := range list {
		r.waitGone(t, 0, name)
	}
}

func testJobTimeout(t *testing.T) {
	c, _ := connect(t)
	ctx := within(t, limit)
	var job *dbusctl.JobError

	late := newName() + ".service"
	removeAfter(t, late)
	err := c.StartTransient(ctx, oneshot(late, "sleep 1000", units.Property{Name: "JobRunningTimeoutUSec", Value: uint64(300_000)}))
	if !errors.As(err, &job) || job.Result != "timeout" {
		t.Errorf("a job's timeout: got %v, want that result", err)
	}

	slow := newName() + ".service"
	removeAfter(t, slow)
	err = c.StartTransient(ctx, oneshot(slow, "sleep 1000", units.Property{Name: "TimeoutStartUSec", Value: uint64(300_000)}))
	if !errors.As(err, &job) || job.Result != "failed" {
		t.Errorf("a start's timeout: got %v, want a failed job", err)
	}
	exit, err := c.Exit(ctx, slow)
	if err != nil || exit.Result != "timeout" {
		t.Errorf("a start's timeout ended as %+v, %v", exit, err)
	}

	// The caller's patience. The unit is still starting then, and can be stopped.
	left := newName() + ".service"
	removeAfter(t, left)
	brief, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	err = c.StartTransient(brief, oneshot(left, "sleep 1000"))
	if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, dbusctl.ErrDisconnected) || ctx.Err() != nil {
		t.Errorf("the context's end: got %v, and of the longer one %v", err, ctx.Err())
	}
	if st := one(t, c, left); st.Active != "activating" {
		t.Errorf("it is %v, want activating", st)
	}
	noError(t, "stop it", c.Stop(ctx, left))
}

// testJobCanceled: a stop overtakes a start.
func testJobCanceled(t *testing.T) {
	c, r := connect(t)
	ctx := within(t, limit)
	name := newName() + ".service"
	removeAfter(t, name)
	started := make(chan error, 1)
	go func() { started <- c.StartTransient(ctx, oneshot(name, "sleep 1000")) }()
	r.waitState(t, 0, name, "activating")
	noError(t, "stop", c.Stop(ctx, name))
	var job *dbusctl.JobError
	if err := <-started; !errors.As(err, &job) || job.Result != "canceled" {
		t.Errorf("got %v, want a canceled job", err)
	}
}

// testStopAgainstStarts: what starts a unit again and again while it stops is waited for.
func testStopAgainstStarts(t *testing.T) {
	c, _ := connect(t)
	ctx := within(t, limit)
	name := newName() + ".service"
	removeAfter(t, name)
	stop := []units.Exec{{Path: "/bin/sleep", Argv: []string{"sleep", "0.1"}, Options: []string{"no-env-expand"}}}
	noError(t, "start", c.StartTransient(ctx, service(name, "exec sleep 1000", units.Property{Name: "ExecStopEx", Value: stop})))
	starting, over := context.WithTimeout(ctx, time.Second)
	defer over()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for starting.Err() == nil {
			brief, cancel := context.WithTimeout(starting, 10*time.Millisecond)
			_ = c.Start(brief, name)
			<-brief.Done()
			cancel()
		}
	})
	noError(t, "stop", c.Stop(ctx, name))
	over()
}

// testStopTwice: the manager gives equal stops the same job.
func testStopTwice(t *testing.T) {
	c, _ := connect(t)
	ctx := within(t, limit)
	name := newName() + ".service"
	removeAfter(t, name)
	noError(t, "start", c.StartTransient(ctx, service(name, `trap "sleep 0.3; exit 0" TERM; while :; do sleep 0.1; done`)))
	noError(t, "stop", c.Stop(ctx, slices.Repeat([]string{name}, 20)...))
	if st := one(t, c, name); st.Active != "inactive" {
		t.Errorf("it is %v", st)
	}
}
