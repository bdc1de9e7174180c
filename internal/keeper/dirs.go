package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"tenement.dev/internal/tenant"
)

// owner is who an instance runs as.
type owner struct{ uid, gid int }

// ownAccount reports whether the instance gets a user of its own.
func (l *Local) ownAccount(spec tenant.Spec) bool {
	return l.accounts != nil && spec.Isolation != tenant.IsolationProcess
}

// account decides who the instance runs as. The name is empty for the manager's own
// user.
func (l *Local) account(spec tenant.Spec) (name string, o owner, err error) {
	self := owner{os.Getuid(), os.Getgid()}
	switch {
	case spec.Isolation == tenant.IsolationProcess && spec.User != "":
		if l.host.User {
			return "", owner{}, &tenant.Error{
				Code: tenant.CodeUnsupported, Op: "load", ID: spec.ID,
				Msg: fmt.Sprintf("user = %q needs root", spec.User), Hint: "run ten serve as root, or leave user out",
			}
		}
		return lookupUser(spec)
	case !l.ownAccount(spec):
		return "", self, nil
	}
	uid, err := l.accounts.uid(spec.ID)
	if err != nil {
		return "", owner{}, err
	}
	return accountName(uid), owner{uid, uid}, nil
}

func lookupUser(spec tenant.Spec) (string, owner, error) {
	u, err := user.Lookup(spec.User)
	if err != nil {
		return "", owner{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "load", ID: spec.ID,
			Msg: fmt.Sprintf("there is no user %q", spec.User), Hint: "create it, or leave user out", Err: err,
		}
	}
	uid, uerr := strconv.Atoi(u.Uid)
	gid, gerr := strconv.Atoi(u.Gid)
	if err := errors.Join(uerr, gerr); err != nil {
		return "", owner{}, fmt.Errorf("look up user %s: %w", spec.User, err)
	}
	return spec.User, owner{uid, gid}, nil
}

// makeDirs makes the instance's data directory and the one for its socket. The
// directories above can be passed through, not listed.
func (l *Local) makeDirs(spec tenant.Spec, o owner) error {
	if err := makeWay(spec.DataRoot, filepath.Dir(spec.DataDir)); err != nil {
		return fmt.Errorf("make data directory of %s: %w", spec.ID, err)
	}
	if err := makeOwn(spec.DataDir, o); err != nil {
		return fmt.Errorf("make data directory of %s: %w", spec.ID, err)
	}
	if dir := l.host.SocketDir(spec.ID); spec.SocketPath != "" && filepath.Dir(spec.SocketPath) == dir {
		if err := makeWay(filepath.Dir(dir)); err != nil {
			return fmt.Errorf("make socket directory of %s: %w", spec.ID, err)
		}
		if err := makeOwn(dir, o); err != nil {
			return fmt.Errorf("make socket directory of %s: %w", spec.ID, err)
		}
	}
	return nil
}

func makeWay(dirs ...string) error {
	for _, dir := range dirs {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
	}
	return nil
}

// makeOwn makes a directory of the instance's own. An existing one is only touched
// when it belongs to somebody else, which is so after a change of the isolation
// level: a wake never walks through data.
func makeOwn(dir string, o owner) error {
	err := os.Mkdir(dir, 0o700)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && int(st.Uid) == o.uid && int(st.Gid) == o.gid {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	// The top comes last, so that a walk cut short is begun again.
	return walkBottomUp(root, ".", func(path string) error { return root.Lchown(path, o.uid, o.gid) })
}

// walkBottomUp calls f for everything in dir and then for dir, without following
// links.
func walkBottomUp(root *os.Root, dir string, f func(string) error) error {
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.IsDir() {
			if err := walkBottomUp(root, path, f); err != nil {
				return err
			}
			continue
		}
		if err := f(path); err != nil {
			return err
		}
	}
	return f(dir)
}
