package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"tenement.dev/test/harness"
	"tenement.dev/units"
)

// disturb calls one of the ways to disturb after the other until ctx ends, every so often.
func (w *world) disturb(ctx context.Context, r *rand.Rand, every time.Duration, ways ...func(*rand.Rand)) {
	for {
		pause := time.NewTimer(every/2 + time.Duration(r.Int64N(int64(every))))
		select {
		case <-ctx.Done():
			pause.Stop()
			return
		case <-pause.C:
			ways[r.IntN(len(ways))](r)
		}
	}
}

// any gives one of the tenants to an operator; one at a time may have it.
func (w *world) any(r *rand.Rand) *operated {
	t := w.tenants[r.IntN(len(w.tenants))]
	t.operator.Lock()
	return &operated{w, t}
}

// operated is a tenant that an operator works on.
type operated struct {
	w *world
	*tenant
}

func (o *operated) done() { o.operator.Unlock() }

func (o *operated) unit() string { return "tenement-" + o.service + "@" + o.name + ".service" }

// processes gives those of the app; none if it sleeps. While it starts there may be others:
// the manager's that makes the unit ready, and ten-init.
func (o *operated) processes() (pids []int) {
	path := filepath.Join("/sys/fs/cgroup", units.Slice, o.unit(), "app/cgroup.procs")
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// app gives those of the processes that run the app. Another signal than SIGKILL is lost on
// the first process of a PID namespace until it catches it (pid_namespaces(7)).
func (o *operated) app() []int {
	return slices.DeleteFunc(o.processes(), func(pid int) bool {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		return err != nil || filepath.Base(exe) != "testapp"
	})
}

// awaitEnd waits until processes have ended, and the manager has said so: its answer to a
// question comes after what it had to tell before.
func (o *operated) awaitEnd(pids []int, why string) {
	deadline := time.Now().Add(harness.Timeout)
	for _, pid := range pids {
		for alive(pid) {
			if time.Now().After(deadline) {
				comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
				o.w.fault("process %d of %s, %s, did not end: %s", pid, o.id(), strings.TrimSpace(string(comm)), why)
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	o.w.s.Systemctl("is-active", o.unit())
}

// exitTime is how long an app that has been told to exit takes at most, most of the time.
const exitTime = time.Second

// endsWithin reports whether one of the processes ends within d.
func endsWithin(pids []int, d time.Duration) bool {
	for deadline := time.Now().Add(d); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if slices.ContainsFunc(pids, func(pid int) bool { return !alive(pid) }) {
			return true
		}
	}
	return false
}

// alive reports whether a process has not ended. While other threads of it still run, a
// first thread that is a zombie says nothing.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil || !strings.Contains(string(stat), ") Z ") {
		return err == nil
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && len(threads) > 1
}

// crash kills an app, as the kernel does when memory is short.
func (w *world) crash(r *rand.Rand) {
	o := w.any(r)
	defer o.done()
	const why = "its app was killed"
	end := o.ends.begin(why)
	defer end()
	pids := o.processes()
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	o.awaitEnd(pids, why)
}

// exit has an app end itself.
func (w *world) exit(r *rand.Rand) {
	o := w.any(r)
	defer o.done()
	const why = "its app was told to exit"
	end := o.ends.begin(why)
	defer end()
	pids := o.app()
	if len(pids) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	path := fmt.Sprintf("/exit?code=%d", r.IntN(2))
	for told := false; !told; { // a daemon that is killed now may not have told it
		_, _ = w.s.Do(ctx, "POST", o.id(), path, "", "Connection", "close")
		told = ctx.Err() != nil || endsWithin(pids, exitTime)
	}
	o.awaitEnd(pids, why)
}

// killUnit sends a signal to all processes of a unit.
func (w *world) killUnit(r *rand.Rand) {
	o := w.any(r)
	defer o.done()
	signal := []string{"KILL", "TERM", "INT"}[r.IntN(3)]
	why := "its unit got SIG" + signal
	end := o.ends.begin(why)
	defer end()
	pids := o.app()
	if signal == "KILL" {
		pids = o.processes()
	}
	if len(pids) == 0 {
		return
	}
	w.s.Systemctl("kill", "--signal="+signal, o.unit())
	if signal == "INT" { // which a dozing app hears of when it is woken
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, _ = w.s.Do(ctx, "GET", o.id(), "/health", "", "Connection", "close")
	}
	o.awaitEnd(pids, why)
}

// stopUnit stops a unit behind the daemon's back.
func (w *world) stopUnit(r *rand.Rand) {
	o := w.any(r)
	defer o.done()
	end := o.ends.begin("its unit was stopped")
	defer end()
	w.s.Systemctl("stop", o.unit())
}

// order gives an order with ten until it is carried out, which a killed daemon can delay.
func (o *operated) order(words ...string) {
	deadline := time.Now().Add(patience)
	for {
		from := time.Now()
		result := o.w.s.Ten(append(words, o.id())...)
		if result.Code == 0 {
			return
		}
		if words[0] == "destroy" && strings.Contains(result.Stderr, "not registered") {
			return // the last try has done it
		}
		excused := o.w.kills.during(from, time.Now()) != "" || o.w.starts.during(from, time.Now()) != ""
		if !excused || time.Now().After(deadline) {
			o.w.fault("ten %s %s: %s", strings.Join(words, " "), o.id(), result)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (w *world) stop(r *rand.Rand) {
	o := w.any(r)
	defer o.done()
	end := o.ends.begin("ten stop")
	defer end()
	o.order("stop")
}

func (w *world) restart(r *rand.Rand) {
	o := w.any(r)
	defer o.done()
	end := o.ends.begin("ten restart")
	defer end()
	o.order("restart")
}

// pause has a tenant's requests refused, whatever becomes of the daemon, and then served
// again.
func (w *world) pause(r *rand.Rand) {
	o := w.any(r)
	defer o.done()
	end := o.pauses.begin("ten pause")
	defer end()
	o.order("pause", "--message", "back soon")
	from := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	resp, err := w.s.Do(ctx, "GET", o.id(), "/notes", "", "Connection", "close")
	switch {
	case err == nil && (resp.Status != 503 || !strings.Contains(resp.Body, "back soon")):
		w.fault("%s while it is paused: got %d %.80q", o.id(), resp.Status, resp.Body)
	case err != nil && w.kills.during(from, time.Now()) == "":
		w.fault("%s while it is paused: %v", o.id(), err)
	}
	o.order("unpause")
}

// replace destroys a tenant and makes it anew.
func (w *world) replace(r *rand.Rand) {
	o := w.any(r)
	defer o.done()
	end := o.wipes.begin("ten destroy")
	defer end()
	o.order("destroy", "--yes")
	o.order("spawn")
}

// killDaemon kills the daemon; systemd starts it again.
func (w *world) killDaemon(*rand.Rand) {
	starting := w.starts.begin("the daemon starts")
	defer starting()
	pid := w.s.PID()
	end := w.kills.begin("the daemon was killed")
	_ = syscall.Kill(pid, syscall.SIGKILL)
	deadline := time.Now().Add(harness.Timeout)
	for alive(pid) && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	end()
	for w.s.PID() == pid && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond) // the manager is to know, or it says that the old one is active
	}
	for w.s.Systemctl("show", "--property=ActiveState", "--value", "tenement-test.service") != "active" {
		if time.Now().After(deadline) {
			w.fault("the daemon does not come back")
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// restartDaemon restarts the daemon, which may cost no request.
func (w *world) restartDaemon(*rand.Rand) {
	starting := w.starts.begin("the daemon restarts")
	defer starting()
	end := w.restarts.begin("the daemon was restarted")
	defer end()
	w.s.Systemctl("restart", "tenement-test.service")
}

func (w *world) restartBus(*rand.Rand) { w.s.Systemctl("restart", "dbus.service") }

func (w *world) reloadManager(*rand.Rand) { w.s.Systemctl("daemon-reload") }
