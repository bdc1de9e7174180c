package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/ingress"
	"tenement.dev/internal/probe"
)

// tryFence is an app that tries to get past the fence, and keeps in its environment,
// which it answers with, how that ended.
func tryFence() {
	bind := func(proto int) error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, proto)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Bind(fd, &unix.SockaddrInet4{Port: number(os.Getenv("FOREIGN")), Addr: [4]byte{127, 0, 0, 1}})
	}
	for name, try := range map[string]func() error{
		"BIND":  func() error { return bind(0) },
		"MPTCP": func() error { return bind(unix.IPPROTO_MPTCP) },
		"SMC":   func() error { return bind(unix.IPPROTO_SMC) },
		"CHILD": func() error {
			return exec.Command("/usr/bin/python3", "-c", "import socket, sys; socket.socket().bind(('127.0.0.1', int(sys.argv[1])))", os.Getenv("FOREIGN")).Run()
		},
		"ABSTRACT": func() error {
			conn, err := net.Dial("unix", os.Getenv("ABSTRACT"))
			if err == nil {
				conn.Close()
			}
			return err
		},
		"MEMORY": func() error {
			f, err := os.OpenFile(fmt.Sprintf("/proc/%d/mem", os.Getppid()), os.O_RDWR, 0)
			if err == nil {
				f.Close()
			}
			return err
		},
		"URING": func() error {
			if _, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, 0, 0); errno != unix.EFAULT {
				return errno
			}
			return nil // it is there, and wants its parameters
		},
		"ANY": func() error {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				l.Close()
			}
			return err
		},
	} {
		result := "worked"
		if err := try(); err != nil {
			result = err.Error()
		}
		os.Setenv("TRIED_"+name, result)
	}
}

func number(s string) (n int) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

// Each of these works without the fence, and with it none but to let the kernel choose
// a port.
func TestFence(t *testing.T) {
	abstract := fmt.Sprintf("@ten-init-test-%d", os.Getpid())
	l, err := net.Listen("unix", abstract)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, fence := range []bool{false, true} {
		for _, kind := range []string{"port", "unix"} {
			i := start(t, "fence", kind, func(c *exec.Cmd) {
				if fence {
					c.Args = append([]string{c.Args[0], "-fence"}, c.Args[1:]...)
				}
				c.Env = append(c.Env, "FOREIGN="+freePort(t), "ABSTRACT="+abstract)
			})
			_, environ, err := i.get()
			if err != nil {
				t.Fatal(err)
			}
			for name, refusal := range map[string]string{
				"BIND": "permission denied", "MPTCP": "protocol not supported", "CHILD": "exit status 1", "ABSTRACT": "operation not permitted",
				"MEMORY": "permission denied", "URING": "function not implemented", "SMC": "protocol not supported", "ANY": "",
			} {
				got := environ["TRIED_"+name]
				switch {
				case fence && refusal != "" && !strings.Contains(got, refusal):
					t.Errorf("%s, behind the fence: %s: got %q, want %q", kind, name, got, refusal)
				case (!fence && name != "SMC" || refusal == "") && got != "worked": // not every kernel has SMC
					t.Errorf("%s, fence %t: %s: got %q, want that it works", kind, fence, name, got)
				}
			}
		}
	}
}

// A fence that cannot be is not left out.
func TestFenceIsNotLeftOut(t *testing.T) {
	if err := os.Chmod(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	i := start(t, "", "port", func(c *exec.Cmd) {
		c.Args = append([]string{c.Args[0], "-fence"}, c.Args[1:]...)
		// Without rights Landlock wants no_new_privs, which nobody has set.
		c.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
	})
	i.refused(ingress.ClassExec, "fence the app's ports with Landlock")
	if got := i.ends(); got != exitExec {
		t.Errorf("got exit code %d, want %d", got, exitExec)
	}
}

func TestProbeAttempts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	own, foreign, dir := freePort(t), freePort(t), t.TempDir()
	want := map[string]error{
		"serve:127.0.0.1:" + own:           nil,
		"bind:127.0.0.1:" + foreign:        unix.EACCES,
		"mptcp:127.0.0.1:" + foreign:       unix.EPROTONOSUPPORT,
		"connect:" + l.Addr().String():     nil,
		"connect:127.0.0.1:" + freePort(t): unix.ECONNREFUSED,
		"unix:" + dir + "/none":            unix.ENOENT,
		"read:" + dir:                      nil,
		"read:" + dir + "/none":            unix.ENOENT,
		"write:" + dir:                     nil,
		"write:/proc":                      unix.ENOENT,
		"nonsense:x":                       errors.New("unknown attempt"),
	}
	args := []string{"--probe", "port:" + own}
	for what := range want {
		args = append(args, what)
	}
	out, err := exec.Command(program, args...).Output()
	var facts probe.Facts
	if err := errors.Join(err, json.Unmarshal(out, &facts)); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if facts.Landlock < landlockNet || facts.FenceError != "" {
		t.Fatalf("got Landlock %d, %q: this test needs Linux 6.7 with Landlock", facts.Landlock, facts.FenceError)
	}
	for what, err := range want {
		got, tried := facts.Attempts[what]
		if !tried || err == nil && got != "" || err != nil && !strings.Contains(got, err.Error()) {
			t.Errorf("%s: got %q (tried: %t), want %v", what, got, tried, err)
		}
	}
	if left, _ := filepath.Glob(dir + "/*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
