package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// retryInterval is the pause between two tries to reach an app that does not accept
// yet; see pause. A back-off that grows faster would add its own length to a wake.
const retryInterval = 500 * time.Microsecond

// tryTimeout bounds one try. On the loopback a connection takes microseconds, unless
// the app's backlog is full: the kernel would repeat the dropped SYN after a whole
// second (Python's http.server has room for five).
const tryTimeout = 50 * time.Millisecond

// address is where the app listens.
type address struct {
	kind string // "port", "unix" or "fd"
	port int
	path string
	// own is whether the port must be this uid's (see checkOwner). network is then the
	// family that the app was found in, "tcp4" or "tcp6": in the other one the port can
	// be anybody's.
	own     bool
	network string
}

// UnmarshalText parses "port:8080", "unix:/path" or "fd:/path".
func (a *address) UnmarshalText(text []byte) error {
	kind, rest, _ := strings.Cut(string(text), ":")
	switch kind {
	case "port":
		port, err := strconv.Atoi(rest)
		if err != nil || port < 1 || port > 65535 {
			return fmt.Errorf("%q is no port", rest)
		}
		*a = address{kind: kind, port: port}
	case "unix", "fd":
		if rest == "" {
			return errors.New("empty path")
		}
		*a = address{kind: kind, path: rest}
	default:
		return fmt.Errorf("unknown kind %q", kind)
	}
	return nil
}

// MarshalText prints what UnmarshalText parses.
func (a address) MarshalText() ([]byte, error) {
	switch a.kind {
	case "":
		return nil, nil
	case "port":
		return []byte("port:" + strconv.Itoa(a.port)), nil
	default:
		return []byte(a.kind + ":" + a.path), nil
	}
}

// String is where the app listens, for people.
func (a address) String() string {
	if a.kind == "port" {
		return "port " + strconv.Itoa(a.port)
	}
	return a.path
}

// lookout gives one for the address, or nil.
func (a address) lookout() *lookout {
	if a.kind != "port" {
		return nil
	}
	return newLookout(a.port)
}

// dial tries until the app accepts or ctx ends; see patience. out may be nil.
func (a address) dial(ctx context.Context, of *app, out *lookout) (*os.File, error) {
	p := newPatience(of, out)
	defer p.end()
	p.first(ctx)
	for {
		conn, _, err := a.knock(p.both())
		if err == nil {
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, err
		}
		p.wait(ctx)
	}
}

// dialOwn waits as dial does, until the socket that accepts is this uid's, and gives the
// family that it is in. There is no connection to be had from it: by the time at which
// the owner is known, one that was made may be with somebody who has left. Where it can
// do without one the app sees none: some take but one, and then have to begin anew.
func (a address) dialOwn(ctx context.Context, of *app, out *lookout) (network string, err error) {
	p := newPatience(of, out)
	defer p.end()
	p.first(ctx)
	for {
		network, err = a.reachOwn(out)
		if !errors.Is(err, errNobody) || ctx.Err() != nil {
			return network, err
		}
		p.wait(ctx)
	}
}

// dialAgain connects to an app that has accepted connections before: it gives up when
// ctx ends, or when the app has refused for refusedPatience. A full backlog is no
// refusal, as long as the app takes others of the crowd out of it. Where the app had closed its port, it must be its own again; that is asked
// without a connection where possible, see dialOwn.
func (a address) dialAgain(ctx context.Context, c *crowd) (*os.File, error) {
	begun := time.Now()
	accepted := begun // or was busy, which is as good
	closed := false
	for {
		var conn *os.File
		var err error
		if closed {
			_, err = a.reachOwn(nil)
			closed = err != nil
		}
		if err == nil {
			if conn, _, err = a.knock(true); err == nil {
				c.accepted()
				return conn, nil
			}
			closed = a.own && errors.Is(err, syscall.ECONNREFUSED)
		} else if !errors.Is(err, errNobody) {
			return nil, err
		}
		busy := errors.Is(err, syscall.EINPROGRESS) || errors.Is(err, syscall.EAGAIN)
		if busy {
			accepted = time.Now()
		}
		if ctx.Err() != nil || time.Since(accepted) > refusedPatience || busy && c.stuck(begun) {
			return nil, err
		}
		nap(retryInterval)
	}
}

// taken reports whether something answers at the address although the app has not
// been started. out may be nil.
func (a address) taken(out *lookout) bool {
	if a.kind != "port" {
		return false
	}
	if out != nil {
		found, err := out.look(unix.AF_INET)
		if err == nil && !found {
			found, err = out.look(unix.AF_INET6)
		}
		if err == nil {
			return found
		}
	}
	conn, _, err := a.knock(true)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// prepare removes a socket that an earlier run left behind and, for "fd", makes the
// socket that the app inherits. The file is nil for the other kinds.
func (a address) prepare() (*os.File, error) {
	if a.kind == "port" {
		return nil, nil
	}
	if err := os.Remove(a.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	if a.kind == "unix" {
		return nil, nil
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: a.path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("make socket for app: %w", err)
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	return l.File()
}
