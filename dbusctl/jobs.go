package dbusctl

import (
	"strings"
	"sync"

	"github.com/godbus/dbus/v5"
)

// recentJobs bounds how many ended jobs are remembered. It has to cover the jobs that
// end between a reply and the moment that its caller gets to run.
const recentJobs = 1024

// jobs matches the ends of jobs with those who wait for them, whichever comes first.
// Several may wait for one job: the manager merges equal jobs.
type jobs struct {
	mu      sync.Mutex // guards what follows; nothing else is locked under it
	waiters map[dbus.ObjectPath][]*waiter
	recent  map[dbus.ObjectPath]string // results of the last ended jobs
	order   []dbus.ObjectPath          // ring of the keys of recent
	next    int                        // place in order to be used next
}

// waiter is one caller that waits for one job.
type waiter struct {
	job    dbus.ObjectPath
	result chan string   // capacity 1; gets the result once
	look   chan struct{} // capacity 1; the result may have been lost: ask
}

func newJobs() *jobs {
	return &jobs{
		waiters: make(map[dbus.ObjectPath][]*waiter),
		recent:  make(map[dbus.ObjectPath]string),
		order:   make([]dbus.ObjectPath, 0, recentJobs),
	}
}

// removed notes that a job has ended.
func (j *jobs) removed(job dbus.ObjectPath, result string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, w := range j.waiters[job] {
		w.result <- result
	}
	delete(j.waiters, job)
	// It is remembered even if somebody waited: the reply to another one whom the
	// manager gave the same job may be on its way to its caller.
	if _, ok := j.recent[job]; !ok {
		job = dbus.ObjectPath(strings.Clone(string(job)))
		if len(j.order) < recentJobs {
			j.order = append(j.order, job)
		} else {
			delete(j.recent, j.order[j.next])
			j.order[j.next] = job
			j.next = (j.next + 1) % recentJobs
		}
	}
	j.recent[job] = strings.Clone(result)
}

// wait registers a waiter; forget must be called for it in the end.
func (j *jobs) wait(job dbus.ObjectPath) *waiter {
	w := &waiter{job: job, result: make(chan string, 1), look: make(chan struct{}, 1)}
	j.mu.Lock()
	defer j.mu.Unlock()
	if result, ok := j.recent[job]; ok {
		w.result <- result
		return w
	}
	j.waiters[job] = append(j.waiters[job], w)
	return w
}

// forget removes a waiter.
func (j *jobs) forget(w *waiter) {
	j.mu.Lock()
	defer j.mu.Unlock()
	list := j.waiters[w.job]
	for i := range list {
		if list[i] == w {
			list[i] = list[len(list)-1]
			list = list[:len(list)-1]
			break
		}
	}
	if len(list) == 0 {
		delete(j.waiters, w.job)
	} else {
		j.waiters[w.job] = list
	}
}

// look tells all waiters that ends of jobs may have been lost.
func (j *jobs) look() {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, list := range j.waiters {
		for _, w := range list {
			notify(w.look)
		}
	}
}

// restart forgets the ended jobs: another manager may number its jobs anew.
func (j *jobs) restart() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.recent)
	j.order, j.next = j.order[:0], 0
}
