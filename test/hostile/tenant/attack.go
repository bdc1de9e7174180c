package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// attack does something for a number of milliseconds, at least once, and says what it came to. With
// "reach" some end as soon as they have met their limit.
func attack(what string, q url.Values) Result {
	f, ok := attacks[what]
	if !ok {
		return Result{Err: "no such attack"}
	}
	over := make(chan struct{})
	time.AfterFunc(time.Duration(number(q, "ms"))*time.Millisecond, func() { close(over) })
	return resultOf(f(q, over))
}

var attacks = map[string]func(url.Values, <-chan struct{}) (string, error){
	// nothing is the quiet that the others are compared with.
	"nothing": func(_ url.Values, over <-chan struct{}) (string, error) { <-over; return "", nil },
	"logs":    floodLogs,
	"sockets": manySockets,
	"disk":    fillDisk,
	"forks":   manyProcesses,
	"cgroups": manyGroups,
	"burn":    burn,
	"bomb":    forkBomb,
	"thrash":  thrash,
}

// done reports whether the time is over.
func done(over <-chan struct{}) bool {
	select {
	case <-over:
		return true
	default:
		return false
	}
}

// floodLogs writes lines as fast as they are taken.
func floodLogs(q url.Values, over <-chan struct{}) (string, error) {
	line := []byte(strings.Repeat("spam ", max(1, number(q, "size")/5)) + "\n")
	n := 0
	for !done(over) {
		if _, err := os.Stdout.Write(line); err != nil {
			return "", err
		}
		n++
	}
	return fmt.Sprint(n), nil
}

// manySockets opens n sockets and holds them.
func manySockets(q url.Values, over <-chan struct{}) (string, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	limit.Cur = limit.Max
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	var err error
	for len(fds) < number(q, "n") && !done(over) {
		var pair [2]int
		if pair, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
			break
		}
		fds = append(fds, pair[0], pair[1])
		_, _ = unix.SendmsgN(pair[0], make([]byte, 4096), nil, nil, unix.MSG_DONTWAIT)
	}
	if err == nil {
		<-over
	}
	return fmt.Sprint(len(fds)), err
}

// fillDisk writes into a directory until it is full, mb megabytes at most. The data
// directory it fills again and again.
func fillDisk(q url.Values, over <-chan struct{}) (string, error) {
	path := filepath.Join(cmp.Or(q.Get("path"), os.Getenv("DATA_DIR")), "fill")
	f, err := os.Create(path)
	if err != nil {
		return "0", err
	}
	defer os.Remove(path)
	defer f.Close()
	megabyte := bytes.Repeat([]byte("x"), 1<<20)
	n := 0
	for ; n < number(q, "mb") && !done(over); n++ {
		_, err := f.Write(megabyte)
		if errors.Is(err, unix.EDQUOT) && q.Get("path") == "" {
			_, err = f.Seek(0, io.SeekStart)
		}
		if err != nil {
			return fmt.Sprint(n), err
		}
	}
	return fmt.Sprint(n), nil
}

// manyProcesses starts n processes and holds them.
func manyProcesses(q url.Values, over <-chan struct{}) (string, error) {
	var list []*exec.Cmd
	defer func() {
		for _, cmd := range list {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	var err error
	for len(list) < number(q, "n") && !done(over) {
		cmd := exec.Command("/bin/sleep", "1000")
		if err = cmd.Start(); err != nil {
			break
		}
		list = append(list, cmd)
	}
	if err == nil {
		<-over
	}
	return fmt.Sprint(len(list)), err
}

// manyGroups makes n cgroups below its own, one in the other or beside each other.
func manyGroups(q url.Values, over <-chan struct{}) (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	_, path, _ := strings.Cut(string(text), "0::")
	path, _, _ = strings.Cut(path, "\n")
	n := 0
	for dir := filepath.Join("/sys/fs/cgroup", path); n < number(q, "n") && !done(over); n++ {
		child := filepath.Join(dir, fmt.Sprintf("c%s-%d", q.Get("deep"), n))
		if err := os.Mkdir(child, 0o755); err != nil && !os.IsExist(err) {
			return fmt.Sprint(n), err
		}
		if q.Get("deep") != "" {
			dir = child
		}
	}
	return fmt.Sprint(n), nil
}

// burn uses the processors with n threads.
func burn(q url.Values, over <-chan struct{}) (string, error) {
	stop := make(chan struct{})
	for range number(q, "n") {
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					_ = syscall.Getpid()
				}
			}
		}()
	}
	<-over
	close(stop)
	return "", nil
}

// sleepers is how many processes the bomb has started, which stay.
var sleepers int

// forkBomb starts processes and never takes no for an answer. What is refused is a clone
// that shares its memory: user-mode Linux 6.12 can panic where another one is (it flushes
// a page table that it has not made yet).
func forkBomb(q url.Values, over <-chan struct{}) (string, error) {
	haveThreads() // there will be none to get
	refused := 0
	for again := true; again; again = !done(over) && (refused == 0 || !q.Has("reach")) {
		if exec.Command("/bin/sleep", "1000").Start() != nil {
			refused++
			continue
		}
		sleepers++
	}
	return fmt.Sprintf("%d, and %d refused", sleepers, refused), nil
}

// haveThreads has the runtime make some threads, which it keeps. Once: of those that it has by
// then some may be in use.
var haveThreads = sync.OnceFunc(func() {
	const n = 8
	var all sync.WaitGroup
	all.Add(n)
	for range n {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			all.Done()
			all.Wait()
		}()
	}
	all.Wait()
})

// memory is what the hog keeps from one attack to the next, and touched how many pieces of
// it have been written to, in turn.
var (
	memory  []byte
	touched int
)

// thrash writes to mb megabytes again and again, all in the kernel and nothing that packs: to
// one of them at least, and to reach its limit to each once. Of 0 it only gives the memory back.
func thrash(q url.Values, over <-chan struct{}) (string, error) {
	const piece = 64 << 10
	if size := number(q, "mb") << 20; len(memory) != size {
		memory, touched = make([]byte, size), 0
		debug.FreeOSMemory()
	}
	pieces := len(memory) / piece
	if pieces == 0 {
		return "", nil
	}
	n := 0
	for n < 1<<20/piece || !done(over) {
		if q.Has("reach") && touched >= pieces {
			break
		}
		at := touched % pieces * piece
		if _, err := unix.Getrandom(memory[at:at+piece], 0); err != nil {
			return fmt.Sprint(n), err
		}
		touched++
		n++
	}
	return fmt.Sprint(n), nil
}
