package api

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
	"tenement.dev/internal/wire"
)

// access is what a route needs of who uses it.
type access uint8

const (
	// accessUndeclared is a route that was forgotten.
	accessUndeclared access = iota
	// accessLocal is root and the daemon's own user, on this machine.
	accessLocal
)

// peerKey is the context key of a connection's peer.
type peerKey struct{}

// peer is who made a connection.
type peer struct {
	uid int
	err error
}

// ConnContext notes who is at the other end of a connection; it is the field of that
// name of the http.Server that serves an API.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	uid, err := peerUID(c)
	return context.WithValue(ctx, peerKey{}, peer{uid, err})
}

// peerUID asks the kernel who connected (unix(7), SO_PEERCRED).
func peerUID(c net.Conn) (int, error) {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return 0, errors.New("not a Unix socket")
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("read peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, fmt.Errorf("read peer credentials: %w", err)
	}
	if credErr != nil {
		return 0, fmt.Errorf("read peer credentials: %w", credErr)
	}
	return int(cred.Uid), nil
}

// admit gives the error for a request whose sender does not have what need asks for.
func (a *API) admit(r *http.Request, need access) error {
	if need != accessLocal {
		return &tenant.Error{Code: tenant.CodeInternal, Op: "admit", Err: errors.New("route without declared access")}
	}
	p, ok := r.Context().Value(peerKey{}).(peer)
	if !ok {
		p.err = errors.New("unknown connection")
	}
	if p.err != nil {
		return &tenant.Error{
			Code: wire.CodeForbidden, Op: "admit", Err: p.err,
			Msg:  "who asks is not known",
			Hint: "use the daemon's Unix socket",
		}
	}
	if p.uid != 0 && p.uid != a.uid {
		return &tenant.Error{
			Code: wire.CodeForbidden, Op: "admit", Err: fmt.Errorf("peer has uid %d", p.uid),
			Msg:  "this daemon serves root and its own user only",
			Hint: choose(a.uid == 0, "use sudo", fmt.Sprintf("use the daemon as uid %d or as root", a.uid)),
		}
	}
	return nil
}

func choose(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}
