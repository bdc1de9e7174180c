package main

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// toil tells how a process fares on the machine's processors (its first thread, in
// /proc/PID/schedstat, Documentation/scheduler/sched-stats.rst).
type toil struct {
	fd        int
	at        time.Time
	run, wait time.Duration // on a processor, and waiting for one, until then
}

// newToil gives nil where the kernel does not tell.
func newToil(pid int) *toil {
	fd, err := unix.Open("/proc/"+strconv.Itoa(pid)+"/schedstat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	t := &toil{fd: fd, at: time.Now()}
	t.run, t.wait = t.read()
	return t
}

func (t *toil) close() { unix.Close(t.fd) }

// read gives the two; 0 for a process that has ended.
func (t *toil) read() (run, wait time.Duration) {
	var buffer [80]byte
	n, err := unix.Pread(t.fd, buffer[:], 0)
	if err != nil {
		return 0, 0
	}
	return parseToil(buffer[:n])
}

// parseToil reads "RUN WAIT TIMES\n", the first two in nanoseconds.
func parseToil(text []byte) (run, wait time.Duration) {
	first, rest, _ := bytes.Cut(text, []byte(" "))
	second, _, _ := bytes.Cut(rest, []byte(" "))
	r, _ := strconv.ParseInt(string(first), 10, 64)
	w, _ := strconv.ParseInt(string(second), 10, 64)
	return time.Duration(r), time.Duration(w)
}

const (
	// toilStep is how long a process that has to wait for a processor runs between two
	// looks for what it has come to.
	toilStep = 2 * time.Millisecond
	// toilPause bounds the pause in between, and toilShare does by the time that has passed.
	toilPause = 25 * time.Millisecond
	toilShare = 4
)

// pause is the pause before the next look, when so much time has passed, given one for
// where the machine has processors enough.
func (t *toil) pause(passed, plenty time.Duration) time.Duration {
	run, wait := t.read()
	now := time.Now()
	ran, waited, since := run-t.run, wait-t.wait, now.Sub(t.at)
	t.at, t.run, t.wait = now, run, wait
	return toilsomePause(ran, waited, since, passed, plenty)
}

func toilsomePause(ran, waited, since, passed, plenty time.Duration) time.Duration {
	if waited < since/4 {
		return plenty
	}
	long := toilPause
	if ran > 0 {
		long = time.Duration(float64(toilStep) * float64(since) / float64(ran))
	}
	return max(plenty, min(long, toilPause, passed/toilShare))
}
