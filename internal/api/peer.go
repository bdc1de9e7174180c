package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/user"
	"slices"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// peerKey is the context key of a connection's peer.
type peerKey struct{}

// peer is who made a connection, on this machine.
type peer struct {
	uid    int
	groups []int
	err    error
}

// errNotUnix says that a connection does not tell who made it.
var errNotUnix = errors.New("not a Unix socket")

// ConnContext notes who is at the other end of a connection; it is the field of that
// name of the http.Server that serves an API.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerOf(c))
}

// peerOf asks the kernel who connected, and what groups he is in (unix(7), SO_PEERCRED;
// socket(7), SO_PEERGROUPS).
func peerOf(c net.Conn) peer {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return peer{err: errNotUnix}
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return peer{err: fmt.Errorf("read peer credentials: %w", err)}
	}
	var p peer
	if err := raw.Control(func(fd uintptr) { p = credentials(int(fd)) }); err != nil {
		p.err = err
	}
	if p.err != nil {
		p.err = fmt.Errorf("read peer credentials: %w", p.err)
	}
	return p
}

func credentials(fd int) peer {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return peer{err: err}
	}
	groups, err := peerGroups(fd)
	return peer{uid: int(cred.Uid), groups: append(groups, int(cred.Gid)), err: err}
}

// maxGroups is the most groups that a process can be in (credentials(7), NGROUPS_MAX).
const maxGroups = 65536

// peerGroups are the supplementary groups of who connected.
func peerGroups(fd int) ([]int, error) {
	list := make([]uint32, 64)
	for {
		size := uint32(4 * len(list))
		_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PEERGROUPS,
			uintptr(unsafe.Pointer(&list[0])), uintptr(unsafe.Pointer(&size)), 0)
		switch {
		case errno == unix.ERANGE && len(list) < maxGroups:
			list = make([]uint32, maxGroups)
			continue
		case errno != 0:
			return nil, errno
		}
		groups := make([]int, size/4)
		for i := range groups {
			groups[i] = int(list[i])
		}
		return groups, nil
	}
}

// identify finds out who makes a request: by the token that it has, or else, on a Unix
// socket, by the kernel's word.
func (a *API) identify(r *http.Request) (*principal, error) {
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok {
		p.err = errNotUnix
	}
	if r.Header.Get("Authorization") != "" || errors.Is(p.err, errNotUnix) {
		return a.bearer(r)
	}
	if p.err != nil {
		return nil, &tenant.Error{
			Code: wire.CodeForbidden, Op: "admit", Err: p.err,
			Msg:  "who asks is not known",
			Hint: "use the daemon's Unix socket",
		}
	}
	if p.uid != 0 && p.uid != a.uid && (a.group == 0 || !slices.Contains(p.groups, a.group)) {
		return nil, &tenant.Error{
			Code: wire.CodeForbidden, Op: "admit", Err: fmt.Errorf("peer has uid %d", p.uid),
			Msg:  "this daemon serves root, its own user and its group only",
			Hint: choose(a.uid == 0, "use sudo", fmt.Sprintf("use the daemon as uid %d or as root", a.uid)),
		}
	}
	return &principal{admin: true, actor: userActor(p.uid)}, nil
}

// userActor names a user of this machine.
func userActor(uid int) tenant.Actor {
	if uid == 0 {
		return "root"
	}
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return tenant.Actor(fmt.Sprintf("user %s (uid %d)", u.Username, uid))
	}
	return tenant.Actor(fmt.Sprintf("uid %d", uid))
}

func choose(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
