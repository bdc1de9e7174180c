package api

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/tenant"
)

// maxPath is the longest path of a Unix socket in bytes (unix(7), sun_path).
const maxPath = 107

// Listen makes the API's socket, which only its owner and root can connect to, and the
// members of group, if that is not 0. The directory is made if need be. A socket that nobody answers at is replaced; one that is
// in use is a *tenant.Error with CodeConflict. Closing the listener removes the socket.
func Listen(path string, group int) (net.Listener, error) {
	if len(path) > maxPath {
		return nil, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "listen",
			Msg:  fmt.Sprintf("the socket's path has %d bytes and may have %d: %s", len(path), maxPath, path),
			Hint: "choose a shorter one",
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, cannot(path, err)
	}
	// The lock is held as long as the socket is. Without it two daemons could both
	// find nobody answering, and the second remove the first one's socket.
	lock, err := lockFile(path + ".lock")
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, inUse(path)
	}
	if err != nil {
		return nil, cannot(path, err)
	}
	ln, err := listen(path, group)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return &listener{UnixListener: ln, lock: lock}, nil
}

func listen(path string, group int) (*net.UnixListener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, cannot(path, err)
	}
	// Until here the mode is what the umask leaves of it; who connects meanwhile is
	// looked at all the same.
	mode := fs.FileMode(0o600)
	if group != 0 {
		mode = 0o660
		err = os.Chown(path, -1, group)
	}
	if err == nil {
		err = os.Chmod(path, mode)
	}
	if err != nil {
		return nil, errors.Join(cannot(path, err), ln.Close())
	}
	return ln, nil
}

// removeStale removes a socket that nobody answers at.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return cannot(path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return &tenant.Error{
			Code: tenant.CodeConflict, Op: "listen",
			Msg:  fmt.Sprintf("%s is there already and is no socket", path),
			Hint: "move it away, or choose another path",
		}
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"}) // never waits
	switch {
	case err == nil:
		return errors.Join(inUse(path), conn.Close())
	case errors.Is(err, syscall.ECONNREFUSED):
	case errors.Is(err, syscall.EAGAIN): // its queue is full
		return inUse(path)
	default:
		return cannot(path, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cannot(path, err)
	}
	return nil
}

// lockFile opens and locks a file; the error is EWOULDBLOCK if somebody else has it.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func inUse(path string) error {
	return &tenant.Error{
		Code: tenant.CodeConflict, Op: "listen",
		Msg:  fmt.Sprintf("another Tenement daemon answers at %s", path),
		Hint: "stop that one first, or see `ten version` and `ten ps` for what it is",
	}
}

func cannot(path string, err error) error {
	e := &tenant.Error{
		Code: tenant.CodeUnavailable, Op: "listen", Err: err,
		Msg: fmt.Sprintf("the daemon cannot listen at %s: %v", path, cause(err)),
	}
	if errors.Is(err, fs.ErrPermission) {
		e.Hint = "run `ten serve` as the user that the directory belongs to"
	} else {
		e.Hint = "look at the directory that it is in"
	}
	return e
}

// cause is the last error in the chain: the kernel's, where there is one.
func cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// listener is a Unix listener that gives its lock back when it closes.
type listener struct {
	*net.UnixListener
	lock *os.File
	once sync.Once
	err  error
}

// Close removes the socket, then gives the lock back.
func (l *listener) Close() error {
	l.once.Do(func() { l.err = errors.Join(l.UnixListener.Close(), l.lock.Close()) })
	return l.err
}
