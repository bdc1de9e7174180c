package main

import (
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// realInit is the true ten-init, beside this one.
const realInit = "ten-init.real"

// beInit is ten-init: the true one for all but the service "evil", whose instances'
// names say how they answer their doorbell. It does not return.
func beInit() {
	dir := strings.TrimSuffix(os.Args[0], "ten-init")
	if exe, err := os.Executable(); err == nil {
		dir = strings.TrimSuffix(exe, "ten-init")
	}
	mode := os.Getenv("TENEMENT_INSTANCE")
	if os.Getenv("TENEMENT_SERVICE") != "evil" {
		err := syscall.Exec(dir+realInit, os.Args, os.Environ())
		fmt.Fprintln(os.Stderr, "execute ten-init:", err)
		os.Exit(127)
	}
	mode, ready := strings.CutSuffix(mode, "-ready")
	if ready {
		if conn, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET")); err == nil {
			_, _ = conn.Write([]byte("READY=1\nFDSTORE=1\nMAINPID=1"))
		}
	}
	f, ok := doorbells[mode]
	if !ok {
		os.Exit(3)
	}
	for {
		fd, _, err := unix.Accept(3)
		if err != nil {
			os.Exit(4)
		}
		go func() {
			buf := make([]byte, 256)
			_, _ = unix.Read(fd, buf)
			f(fd)
		}()
	}
}

// doorbells are ways to answer.
var doorbells = map[string]func(fd int){
	"nothing": func(int) { select {} },
	"hangup":  func(fd int) { unix.Close(fd) },
	"exit":    func(int) { os.Exit(5) },
	"garbage": func(fd int) { say(fd, "\x00\xff\x1b[2J certainly\n") },
	"refusal": func(fd int) {
		say(fd, "error exited \x1b]0;owned\x07 <script>alert(1)</script> "+strings.Repeat("x", 800)+"\n")
	},
	"long": func(fd int) { say(fd, "ok "+strings.Repeat("x", 100_000)) },
	"endless": func(fd int) {
		for say(fd, strings.Repeat("x", 100)) {
			time.Sleep(20 * time.Millisecond)
		}
	},
	"drip": func(fd int) {
		for _, c := range "ok init=1 ready=1 dozing=0" + strings.Repeat(" ", 1000) {
			if !say(fd, string(c)) {
				return
			}
			time.Sleep(100 * time.Millisecond)
		}
	},
	"bare": func(fd int) { say(fd, yes) },
	// As if it waited with its app, which nobody has asked it to, and everybody may wait for.
	"armed":     func(fd int) { say(fd, "ok init=1 ready=0 dozing=0 armed=1\n") },
	"file":      func(fd int) { give(fd, open("/etc/passwd")) },
	"directory": func(fd int) { give(fd, open("/")) },
	"null":      func(fd int) { give(fd, open("/dev/zero")) },
	"pipe": func(fd int) {
		var p [2]int
		_ = unix.Pipe(p[:])
		give(fd, p[0])
	},
	"listening": func(fd int) {
		s, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		_ = unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		_ = unix.Listen(s, 1)
		give(fd, s)
	},
	"doorbell": func(fd int) { give(fd, 3) },
	"unconnected": func(fd int) {
		s, _ := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		give(fd, s)
	},
	"datagram": func(fd int) {
		p, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		give(fd, p[0])
	},
	"netlink": func(fd int) {
		s, _ := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
		give(fd, s)
	},
	"sixty": func(fd int) {
		var fds []int
		for range 60 {
			p, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			fds = append(fds, p[0])
		}
		give(fd, fds...)
	},
	"two": func(fd int) {
		p, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		give(fd, p[0], p[1])
	},
	// A connection where the daemon would speak as itself, who may say more there.
	"journal": func(fd int) {
		s, _ := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		_ = unix.Connect(s, &unix.SockaddrUnix{Name: "/run/systemd/journal/stdout"})
		give(fd, s)
	},
	// Connections of the right kind with nobody behind them.
	"mute": func(fd int) {
		p, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		give(fd, p[0])
	},
	"dead": func(fd int) {
		p, _ := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		unix.Close(p[1])
		give(fd, p[0])
	},
}

const yes = "ok init=1 ready=1 dozing=0\n"

func say(fd int, text string) bool {
	_, err := unix.Write(fd, []byte(text))
	return err == nil
}

func give(fd int, fds ...int) {
	_ = unix.Sendmsg(fd, []byte(yes), unix.UnixRights(fds...), nil, 0)
	unix.Close(fd)
}

func open(path string) int {
	fd, _ := unix.Open(path, unix.O_RDONLY, 0)
	return fd
}
