package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func errnoName(e syscall.Errno) string { return unix.ErrnoName(e) }

// try makes one attempt.
func try(what string, q url.Values) Result {
	f, ok := attempts[what]
	if !ok {
		return Result{Text: "no such attempt"}
	}
	return resultOf(f(q))
}

func number(q url.Values, key string) int {
	n, _ := strconv.Atoi(q.Get(key))
	return n
}

// only makes an attempt of a call that gives nothing but an error.
func only(f func() error) func(url.Values) (string, error) {
	return func(url.Values) (string, error) { return "", f() }
}

// call makes an attempt of a bare system call.
func call(number uintptr, args ...uintptr) func(url.Values) (string, error) {
	return only(func() error {
		var a [6]uintptr
		copy(a[:], args)
		_, _, errno := unix.Syscall6(number, a[0], a[1], a[2], a[3], a[4], a[5])
		if errno != 0 {
			return errno
		}
		return nil
	})
}

var page [4096]byte

func address(p *[4096]byte) uintptr { return uintptr(unsafe.Pointer(p)) }

var attempts = map[string]func(url.Values) (string, error){
	"read": func(q url.Values) (string, error) {
		f, err := os.Open(q.Get("path"))
		if err != nil {
			return "", err
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, 64<<10))
		return string(text), err
	},
	"list": func(q url.Values) (string, error) {
		entries, err := os.ReadDir(q.Get("path"))
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return strings.Join(names, " "), err
	},
	"write": func(q url.Values) (string, error) {
		f, err := os.OpenFile(q.Get("path"), os.O_WRONLY, 0)
		if err != nil {
			return "", err
		}
		defer f.Close()
		_, err = f.WriteString(q.Get("text"))
		return "", err
	},
	"create": func(q url.Values) (string, error) {
		return "", os.WriteFile(q.Get("path"), []byte(q.Get("text")), 0o666)
	},
	"link":  func(q url.Values) (string, error) { return os.Readlink(q.Get("path")) },
	"mkdir": func(q url.Values) (string, error) { return "", os.Mkdir(q.Get("path"), 0o777) },
	"kill": func(q url.Values) (string, error) {
		return "", unix.Kill(number(q, "pid"), syscall.Signal(number(q, "signal")))
	},
	"ptrace":   func(q url.Values) (string, error) { return "", unix.PtraceSeize(number(q, "pid")) },
	"memory":   readMemory,
	"takefd":   takeDescriptor,
	"connect":  connect,
	"bind":     bind,
	"run":      run,
	"send":     send,
	"children": children,
	"processes": func(url.Values) (string, error) {
		dirs, err := filepath.Glob("/proc/[0-9]*")
		return strings.Join(dirs, " "), err
	},
	"addkey": func(q url.Values) (string, error) {
		_, err := unix.AddKey("user", q.Get("name"), []byte("mine"), number(q, "ring"))
		return "", err
	},
	"findkey": func(q url.Values) (string, error) {
		id, err := unix.KeyctlSearch(number(q, "ring"), "user", q.Get("name"), 0)
		return strconv.Itoa(id), err
	},
	"sharedmemory": func(q url.Values) (string, error) {
		id, err := unix.SysvShmGet(number(q, "key"), 4096, number(q, "flags"))
		return strconv.Itoa(id), err
	},

	"mount":        only(func() error { return unix.Mount("none", "/tmp", "tmpfs", 0, "") }),
	"umount":       only(func() error { return unix.Unmount("/tmp", 0) }),
	"chroot":       only(func() error { return unix.Chroot("/tmp") }),
	"pivot":        only(func() error { return unix.PivotRoot("/tmp", "/tmp") }),
	"userns":       only(func() error { return unix.Unshare(unix.CLONE_NEWUSER) }),
	"mountns":      only(func() error { return unix.Unshare(unix.CLONE_NEWNS) }),
	"netns":        only(func() error { return unix.Unshare(unix.CLONE_NEWNET) }),
	"root":         only(func() error { return unix.Setresuid(0, 0, 0) }),
	"neighbouruid": func(q url.Values) (string, error) { return "", unix.Setresuid(number(q, "uid"), -1, -1) },
	"nice":         only(func() error { return unix.Setpriority(unix.PRIO_PROCESS, 0, -20) }),
	"realtime":     only(realTime),
	"clock":        only(func() error { return unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{Sec: 1e9}) }),
	"hostname":     only(func() error { return unix.Sethostname([]byte("mine")) }),
	"module":       only(func() error { return unix.InitModule([]byte("x"), "") }),
	"reboot":       only(func() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF) }),
	"kernellog":    only(func() error { _, err := unix.Klogctl(unix.SYSLOG_ACTION_READ_ALL, page[:]); return err }),
	"clone3":       call(unix.SYS_CLONE3, address(&page), 64),
	"bpf":          call(unix.SYS_BPF, 0, address(&page), 64),
	"perf":         call(unix.SYS_PERF_EVENT_OPEN, address(&page), 0, ^uintptr(0), ^uintptr(0), 0),
	"userfault":    call(unix.SYS_USERFAULTFD, 0),
	"uring":        call(unix.SYS_IO_URING_SETUP, 1, address(&page)),
	"kexec":        call(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0),
	"swapon":       call(unix.SYS_SWAPON, address(&page), 0),
	"handle":       call(unix.SYS_OPEN_BY_HANDLE_AT, 0, address(&page), 0),
	"quota":        call(unix.SYS_QUOTACTL, 0, 0, 0, 0),
	"iopl":         call(unix.SYS_IOPL, 3),
	"mknod":        only(func() error { return unix.Mknod(own("device"), unix.S_IFBLK|0o600, 8<<8) }),
	"setuidfile": only(func() error {
		return errors.Join(os.WriteFile(own("suid"), nil, 0o755), unix.Chmod(own("suid"), 0o4755))
	}),
	"packet":  only(func() error { return socket(unix.AF_PACKET, unix.SOCK_RAW, 0) }),
	"rawip":   only(func() error { return socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP) }),
	"vsock":   only(func() error { return socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0) }),
	"crypto":  only(func() error { return socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0) }),
	"lowport": only(func() error { return listenOnce("127.0.0.1:80") }),
}

// own is a path in the instance's own directory.
func own(name string) string { return filepath.Join(os.Getenv("DATA_DIR"), name) }

func socket(family, kind, protocol int) error {
	fd, err := unix.Socket(family, kind, protocol)
	if err == nil {
		unix.Close(fd)
	}
	return err
}

func listenOnce(address string) error {
	l, err := net.Listen("tcp", address)
	if err == nil {
		l.Close()
	}
	return err
}

func realTime() error {
	return unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}, 0)
}

// readMemory reads another process's memory past its files.
func readMemory(q url.Values) (string, error) {
	buf := make([]byte, 8)
	local := []unix.Iovec{{Base: &buf[0], Len: 8}}
	remote := []unix.RemoteIovec{{Base: 0x400000, Len: 8}}
	_, err := unix.ProcessVMReadv(number(q, "pid"), local, remote, 0)
	return string(buf), err
}

// takeDescriptor takes a descriptor out of another process.
func takeDescriptor(q url.Values) (string, error) {
	pidfd, err := unix.PidfdOpen(number(q, "pid"), 0)
	if err != nil {
		return "", fmt.Errorf("pidfd_open: %w", err)
	}
	defer unix.Close(pidfd)
	fd, err := unix.PidfdGetfd(pidfd, number(q, "fd"), 0)
	if err == nil {
		unix.Close(fd)
	}
	return "", err
}

// connect connects to a Unix socket of any kind, or to a TCP address.
func connect(q url.Values) (string, error) {
	if address := q.Get("tcp"); address != "" {
		conn, err := net.DialTimeout("tcp", address, 2*time.Second)
		if err == nil {
			conn.Close()
		}
		return "", err
	}
	var errs []error
	for _, kind := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
		fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return "", err
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: q.Get("unix")})
		unix.Close(fd)
		if err == nil || errors.Is(err, unix.EAGAIN) {
			return "", nil
		}
		if !errors.Is(err, unix.EPROTOTYPE) {
			errs = append(errs, err)
		}
	}
	return "", errs[0]
}

// bind listens on a port, and says with which protocol that worked.
func bind(q url.Values) (string, error) {
	for _, network := range []string{"tcp4", "tcp6"} {
		host := map[string]string{"tcp4": "127.0.0.1", "tcp6": "[::1]"}[network]
		if err := listenOnce(host + ":" + q.Get("port")); err != nil {
			return network, err
		}
	}
	return "", nil
}

// run runs a command.
func run(q url.Values) (string, error) {
	out, err := exec.Command("/bin/sh", "-c", q.Get("command")).CombinedOutput()
	return string(out), err
}

// send sends a datagram, or a stream's beginning, to a Unix socket.
func send(q url.Values) (string, error) {
	conn, err := net.Dial(q.Get("net"), q.Get("unix"))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_, err = io.WriteString(conn, q.Get("text"))
	return "", err
}

// children leaves processes behind that have nothing to do with this one any more: each
// in a session of its own, with another process group, deaf to SIGTERM.
func children(q url.Values) (string, error) {
	script := "trap '' TERM HUP INT; (setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1000; done' &) & exit 0"
	for range number(q, "n") {
		cmd := exec.Command("/bin/sh", "-c", script)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if err := cmd.Run(); err != nil {
			return "", err
		}
	}
	return "", nil
}
