package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// app is the instance's main process and everything that it started.
type app struct {
	pid     int
	cg      *cgroup  // nil where the cgroup is not ours to use
	sandbox *sandbox // nil where the app is a process of the machine's kernel
	ear     *ear     // hears it listen, or nil
	asker   int      // the process that passes SIGTERM on into the sandbox
	begun   time.Time
}

// startApp starts what o says in a session of its own, in ten-init's present cgroup.
// socket is descriptor 3 of the app, or nil.
func startApp(o options, cg *cgroup, socket *os.File) (*app, error) {
	argv, sys := o.argv, &syscall.SysProcAttr{}
	if o.sandbox != nil {
		if err := o.sandbox.prepare(); err != nil {
			return nil, err
		}
		unguard()
		argv, sys = o.sandbox.run(), rootWithin()
	}
	path := argv[0]
	var files []uintptr
	if socket != nil {
		// Only a process itself can know its pid for $LISTEN_PID.
		path = "/proc/self/exe"
		argv = append([]string{"ten-init", shimFlag}, argv...)
		files = []uintptr{socket.Fd()}
	}
	a := &app{cg: cg, sandbox: o.sandbox}
	fork := func() (err error) {
		a.pid, err = spawn(path, argv, sys, files...)
		return err
	}
	var err error
	if o.fence {
		a.ear, err = inFence(o.listen.port, o.listen.kind == "port", fork)
	} else {
		err = fork()
	}
	if err != nil {
		return nil, err
	}
	a.begun = time.Now()
	if cg != nil {
		cg.leave()
	}
	return a, nil
}

// spawn executes the program path in a session of its own, with ten-init's output, no
// input, and the files as descriptors from 3 on.
func spawn(path string, argv []string, sys *syscall.SysProcAttr, files ...uintptr) (pid int, err error) {
	null, err := syscall.Open(os.DevNull, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("open standard input: %w", err)
	}
	defer syscall.Close(null)
	sys.Setsid = true
	pid, err = syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env:   appEnviron(os.Environ()),
		Files: append([]uintptr{uintptr(null), 1, 2}, files...),
		Sys:   sys,
	})
	if err != nil {
		return 0, fmt.Errorf("execute %s: %w", path, err)
	}
	return pid, nil
}

// terminate asks the app to end, with its process group: wrappers that do not pass
// signals on (go run, a shell) shall not keep the request from it.
func (a *app) terminate() {
	if a.sandbox == nil {
		_ = syscall.Kill(-a.pid, syscall.SIGTERM)
		return
	}
	if a.asker != 0 {
		return // one SIGTERM is enough
	}
	argv := a.sandbox.terminate()
	var err error
	if a.asker, err = spawn(argv[0], argv, rootWithin()); err != nil {
		a.kill()
	}
}

// kill ends everything that the app started, and reports whether it could reach it all:
// else systemd ends what is left, by the unit's cgroup.
func (a *app) kill() (all bool) {
	if a.cg != nil && a.cg.kill() == nil {
		return true
	}
	_ = syscall.Kill(-a.pid, syscall.SIGKILL)
	if os.Getpid() != 1 {
		return false
	}
	return syscall.Kill(-1, syscall.SIGKILL) == nil
}

// reapTime bounds the wait for what was killed.
const reapTime = time.Second

// reapAll waits until everything that kill has ended is gone. The exit of the first
// process of a PID namespace takes until the last one is, and by then it has left its
// cgroup: systemd would see that empty before it hears of the exit, and take a failed unit
// for one that has stopped (seen with 257 under PrivatePIDs=).
func (a *app) reapAll(signals <-chan os.Signal) {
	timeout := time.After(reapTime)
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR || err == nil && pid > 0:
			continue
		case err != nil: // ECHILD: nobody is left
			return
		}
		select {
		case <-signals:
		case <-timeout:
			return
		}
	}
}

// reap collects every child that has ended: the app, and orphans that were passed
// on to ten-init. It returns the app's status once, when the app is among them, and
// whether nobody is left of all that it has started.
func (a *app) reap() (status syscall.WaitStatus, ended, nobody bool) {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || pid <= 0:
			return status, ended, err == syscall.ECHILD
		case pid == a.pid:
			status, ended = ws, true
		case pid == a.asker && ws != 0:
			// There is nobody within yet to take it, or no more.
			a.kill()
		}
	}
}

// exitCode is ten-init's exit code for the app's status.
func exitCode(ws syscall.WaitStatus) int {
	if ws.Signaled() {
		return 128 + int(ws.Signal())
	}
	return ws.ExitStatus()
}

// describe says in words how the app ended.
func describe(ws syscall.WaitStatus) string {
	switch {
	case ws.Signaled() && ws.CoreDump():
		return fmt.Sprintf("signal %d (%v), core dumped", ws.Signal(), ws.Signal())
	case ws.Signaled():
		return fmt.Sprintf("signal %d (%v)", ws.Signal(), ws.Signal())
	default:
		return fmt.Sprintf("exit status %d", ws.ExitStatus())
	}
}
