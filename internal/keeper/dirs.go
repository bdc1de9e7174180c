package keeper

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"tenement.dev/internal/tenant"
	"tenement.dev/units"
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
	a, err := tenant.LookupAccount(spec.User)
	if err != nil {
		return "", owner{}, &tenant.Error{
			Code: tenant.CodeInvalid, Op: "load", ID: spec.ID,
			Msg: fmt.Sprintf("there is no user %q", spec.User), Hint: "create it, or leave user out", Err: err,
		}
	}
	return a.Name, owner{a.UID, a.GID}, nil
}

// makeDirs makes the instance's data directory and the one for its socket. The
// directories above can be passed through, not listed.
func (l *Local) makeDirs(spec tenant.Spec, o owner) error {
	if err := makeWay(spec.DataRoot, filepath.Dir(spec.DataDir)); err != nil {
		return fmt.Errorf("make data directory of %s: %w", spec.ID, err)
	}
	if err := makeOwn(spec.DataDir, o); err != nil {
		return fmt.Errorf("make data directory of %s: %w", spec.ID, dataError(spec, err))
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

var errNoDirectory = errors.New("not a directory")

// dataError has words for people where it is an instance's data that it cannot start with.
func dataError(spec tenant.Spec, err error) error {
	e := &tenant.Error{Code: tenant.CodeUnavailable, Op: "load", ID: spec.ID, Err: err}
	switch {
	case errors.Is(err, errNoDirectory):
		e.Msg = fmt.Sprintf("its data, %s, is no directory, and no link to one is followed", spec.DataDir)
		e.Hint = "for data on another disk: `mount --bind`"
	case errors.Is(err, errTooDeep):
		e.Msg = fmt.Sprintf("its data has %v, and does not belong to the user that it runs as now", errTooDeep)
		e.Hint = "remove them, or give it back the isolation or user that it had"
	default:
		return err
	}
	return e
}

// makeBundle writes what gVisor is to run, where the spec wants that. The instance may
// read it and nobody else: its environment is in it.
func makeBundle(h units.Host, spec tenant.Spec, o owner) error {
	if spec.Isolation != tenant.IsolationSandbox {
		return nil
	}
	dir := h.BundleDir(spec.ID)
	file := filepath.Join(dir, "config.json")
	err := makeWay(filepath.Dir(dir))
	for _, step := range []func() error{
		func() error { return os.RemoveAll(dir) },
		func() error { return os.Mkdir(dir, 0o700) },
		func() error { return os.WriteFile(file, h.Bundle(spec), 0o600) },
		func() error { return os.Chmod(file, 0o440) },
		func() error { return os.Chown(file, -1, o.gid) },
		func() error { return os.Chown(dir, -1, o.gid) },
		func() error { return os.Chmod(dir, 0o750) },
	} {
		if err == nil {
			err = step()
		}
	}
	if err != nil {
		return fmt.Errorf("make bundle of %s: %w", spec.ID, err)
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
		return fmt.Errorf("%s: %w", dir, errNoDirectory)
	}
	before, ok := info.Sys().(*syscall.Stat_t)
	if ok && int(before.Uid) == o.uid && int(before.Gid) == o.gid {
		return nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	// The top comes last, so that a walk cut short is begun again.
	return walkBottomUp(root, ".", 0, func(path string) error {
		if path == "." {
			if err := root.Chmod(path, 0o700); err != nil {
				return err
			}
		} else if info, err := root.Lstat(path); err != nil {
			return err
		} else if st, ok := info.Sys().(*syscall.Stat_t); ok && !info.IsDir() && st.Nlink > 1 && st.Uid != before.Uid {
			return nil // another's file, to which who owned the directory has made a link (link(2))
		}
		return root.Lchown(path, o.uid, o.gid)
	})
}

// walkBottomUp calls f for everything in dir and then for dir, without following
// links. Directories that are nested too deep are an error: each is found from the top.
func walkBottomUp(root *os.Root, dir string, depth int, f func(string) error) error {
	if depth > maxDepth {
		return errTooDeep
	}
	entries, err := fs.ReadDir(root.FS(), dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.IsDir() {
			if err := walkBottomUp(root, path, depth+1, f); err != nil {
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

// openDoors lets the proxy reach the doorbells, also those that are there already, where
// it runs as another user: their directory and they themselves are made by the manager
// otherwise, for nobody else.
func (l *Local) openDoors() error {
	if l.proxy == nil {
		return nil
	}
	dir := l.host.IngressDir()
	err := makeWay(l.host.RuntimeDir, dir)
	if err == nil {
		err = errors.Join(os.Chown(dir, 0, l.proxy.GID), os.Chmod(dir, 0o710))
	}
	sockets, globErr := filepath.Glob(filepath.Join(dir, "*.sock"))
	err = errors.Join(err, globErr)
	for _, path := range sockets {
		if cerr := os.Lchown(path, l.proxy.UID, -1); cerr != nil && !errors.Is(cerr, fs.ErrNotExist) {
			err = errors.Join(err, cerr)
		}
	}
	if err != nil {
		return fmt.Errorf("open the doorbells' directory: %w", err)
	}
	return nil
}
