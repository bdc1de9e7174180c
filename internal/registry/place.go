package registry

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tenement.dev/internal/tenant"
)

// Check sees whether the file is still at its path: what is written to one that somebody has
// deleted or replaced would be gone with the daemon. One that is missing is put back with all that
// is in it (restored); where another file is, that one is left, and a *tenant.Error says what to do.
func (r *Registry) Check(ctx context.Context) (restored bool, err error) {
	r.placing.Lock()
	defer r.placing.Unlock()
	here, err := r.here()
	if err == nil && !here {
		restored, err = r.place(ctx)
	}
	return restored, r.file.explain("check", tenant.ID{}, err)
}

// here reports whether the open file is at its path; another one there is an error.
func (r *Registry) here() (bool, error) {
	info, err := os.Stat(r.file.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	case !os.SameFile(info, r.opened):
		return false, r.file.replaced()
	}
	return true, nil
}

// place writes the missing file again, and goes on with that.
func (r *Registry) place(ctx context.Context) (placed bool, err error) {
	conn, err := r.db.Conn(ctx) // the only one: nobody writes meanwhile
	if err != nil {
		return false, err
	}
	defer conn.Close()
	temp := r.file.path + ".tmp"
	if err := r.file.copyTo(ctx, conn, temp); errors.Is(err, fs.ErrNotExist) {
		return false, r.file.homeless(err)
	} else if err != nil {
		return false, err
	}
	defer os.Remove(temp)
	for _, suffix := range []string{"-wal", "-shm"} { // they are the old file's, and would be taken for this one's
		if err := os.Remove(r.file.path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	if err := os.Link(temp, r.file.path); errors.Is(err, fs.ErrExist) { // unlike a rename it replaces nothing
		return false, r.file.replaced()
	} else if err != nil {
		return false, err
	}
	if r.opened, err = os.Stat(r.file.path); err != nil {
		return false, err
	}
	err = conn.Raw(func(any) error { return driver.ErrBadConn }) // has it closed
	if !errors.Is(err, driver.ErrBadConn) {
		return false, err
	}
	return true, errors.Join(r.db.PingContext(ctx), r.file.syncDir()) // opens the new file
}

// leaveBeside has what is in the open file outlast it where another file has its path, and
// keeps its log from being taken for that one's.
func (r *Registry) leaveBeside(ctx context.Context) error {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := r.file.copyTo(ctx, conn, r.file.keptPath()); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, sqlEmptyLog)
	return errors.Join(err, r.file.syncDir())
}

// keptPath is where the open file's content goes when another file has its path at the end.
func (f file) keptPath() string { return f.path + ".kept" }

// copyTo writes what is in the database to a file at path, whatever that had.
func (f file) copyTo(ctx context.Context, db execer, path string) error {
	handle, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, sqlBackup, path)
	if err == nil {
		err = handle.Sync()
	}
	if err = errors.Join(err, handle.Close()); err != nil {
		_ = os.Remove(path)
	}
	return err
}

// syncDir has what was made in the file's directory, and renamed there, survive a power failure.
func (f file) syncDir() error {
	dir, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// replaced says that another file is where the open one was.
func (f file) replaced() error {
	return &tenant.Error{
		Code: tenant.CodeConflict, Op: "check registry",
		Msg: fmt.Sprintf("another file has been put in place of the registry %s: what ten writes does not get there", f.path),
		Hint: fmt.Sprintf("move that file away, and ten puts its own back within seconds; to go on with that file restart ten, which leaves its own as %s",
			f.keptPath()),
	}
}

// homeless says that there is no directory to put the file back into.
func (f file) homeless(cause error) error {
	return &tenant.Error{
		Code: tenant.CodeInternal, Op: "check registry", Err: cause,
		Msg:  fmt.Sprintf("the registry %s is gone with its directory: what ten writes is lost when it ends", f.path),
		Hint: "make the directory again, for ten's user, before ten ends: ten then puts the registry back within seconds",
	}
}
