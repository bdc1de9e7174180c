package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"tenement.dev/internal/archive"
	"tenement.dev/internal/tenant"
)

// Copies of data are beside it, below directories that no instance's name can have and
// nobody else may enter: in copiesDir what comes and goes with a backup or a restore, in
// keptDir what a restore was told to keep.
const (
	copiesDir = ".copies"
	keptDir   = ".kept"
)

// keptTime is the time in the names of what is in keptDir, after keptPrefix.
const keptTime = "20060102T150405.000Z"

func keptPrefix(id tenant.ID) string { return id.Service + "@" + id.Name + "-" }

// What is in an instance's directory in copiesDir.
const (
	snapshotName = "snapshot" // what a backup is made of
	arrivalName  = "arrival"  // what a restore has unpacked
)

func (l *Local) copies(id tenant.ID) string {
	return filepath.Join(l.host.DataRoot, copiesDir, id.Service+"@"+id.Name)
}

// makeCopy makes an empty directory for a copy, in the place of the one before.
func (l *Local) makeCopy(id tenant.ID, name string) (*os.File, error) {
	dir := l.copies(id)
	if err := makeWay(l.host.DataRoot); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if err := removeTree(path); err != nil {
		return nil, err
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return nil, err
	}
	return openDir(path)
}

// removeCopy removes a copy, and the instance's directory with the last.
func (l *Local) removeCopy(id tenant.ID, name string) error {
	err := removeTree(filepath.Join(l.copies(id), name))
	_ = unix.Rmdir(l.copies(id)) // unless there is another
	if err != nil {
		return fmt.Errorf("remove copy of data of %s: %w", id, err)
	}
	return nil
}

// named says whose data an error is about.
func named(op string, id tenant.ID, err error) error {
	if err == nil {
		return nil
	}
	var e *tenant.Error
	if errors.As(err, &e) {
		told := *e
		told.Op, told.ID = op, id
		return &told
	}
	return fmt.Errorf("%s %s: %w", op, id, err)
}

// Flush has an instance's data written to the disk; see lifecycle.Packer.
func (l *Local) Flush(ctx context.Context, id tenant.ID) {
	if dir, err := openDir(l.dataDir(id)); err == nil {
		archive.Flush(ctx, dir)
	}
}

// Snapshot copies an instance's data; see lifecycle.Packer.
func (l *Local) Snapshot(ctx context.Context, id tenant.ID) (tenant.DataSize, error) {
	size, err := l.snapshot(ctx, id)
	if err != nil {
		return size, errors.Join(named("back up", id, err), l.removeCopy(id, snapshotName))
	}
	return size, nil
}

func (l *Local) snapshot(ctx context.Context, id tenant.ID) (tenant.DataSize, error) {
	to, err := l.makeCopy(id, snapshotName)
	if err != nil {
		return tenant.DataSize{}, err
	}
	defer to.Close()
	from, err := openDir(l.dataDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return tenant.DataSize{}, nil // it has never been loaded
	}
	if err != nil {
		return tenant.DataSize{}, err
	}
	defer from.Close()
	return archive.Clone(ctx, from, to)
}

// Pack writes the copy that Snapshot has made, and removes it; see lifecycle.Packer.
func (l *Local) Pack(ctx context.Context, id tenant.ID, w io.Writer) error {
	err := l.pack(ctx, id, w)
	return errors.Join(err, l.removeCopy(id, snapshotName))
}

func (l *Local) pack(ctx context.Context, id tenant.ID, w io.Writer) error {
	dir, err := openDir(filepath.Join(l.copies(id), snapshotName))
	if err != nil {
		return fmt.Errorf("back up %s: %w", id, err)
	}
	defer dir.Close()
	spool, err := l.spool(id)
	if err != nil {
		return fmt.Errorf("back up %s: %w", id, err)
	}
	defer spool.Close()
	return named("back up", id, archive.Pack(ctx, dir, w, spool))
}

// spool makes a file that is gone when it is closed.
func (l *Local) spool(id tenant.ID) (*os.File, error) {
	f, err := os.CreateTemp(l.copies(id), "sums-*")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// Unpack makes an archive's data beside the instance's own; see lifecycle.Unpacker.
func (l *Local) Unpack(ctx context.Context, spec tenant.Spec, r io.Reader, o tenant.Unpacking) (tenant.DataSize, error) {
	size, err := l.unpack(ctx, spec, r, o)
	if err != nil {
		return size, errors.Join(named("restore", spec.ID, err), l.removeCopy(spec.ID, arrivalName))
	}
	return size, nil
}

func (l *Local) unpack(ctx context.Context, spec tenant.Spec, r io.Reader, o tenant.Unpacking) (tenant.DataSize, error) {
	if !o.Replace {
		if err := l.checkNoData(spec.ID); err != nil {
			return tenant.DataSize{}, err
		}
	}
	_, owner, err := l.account(spec)
	if err != nil {
		return tenant.DataSize{}, err
	}
	dir, err := l.makeCopy(spec.ID, arrivalName)
	if err != nil {
		return tenant.DataSize{}, err
	}
	defer dir.Close()
	spool, err := l.spool(spec.ID)
	if err != nil {
		return tenant.DataSize{}, err
	}
	defer spool.Close()
	return archive.Unpack(ctx, r, dir, archive.Owner{UID: owner.uid, GID: owner.gid}, o, spool)
}

// checkNoData is an error for people where the instance has data.
func (l *Local) checkNoData(id tenant.ID) error {
	dir, err := openDir(l.dataDir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	if _, err := dir.Readdirnames(1); errors.Is(err, io.EOF) {
		return nil
	} else if err != nil {
		return err
	}
	return &tenant.Error{
		Code: tenant.CodeConflict, Op: "restore", ID: id,
		Msg:  fmt.Sprintf("%s has data, which a restore replaces", id),
		Hint: "--force does that; with --keep-old the data is kept",
	}
}

// Replace puts what Unpack has made in the place of the instance's data; see
// lifecycle.Unpacker.
func (l *Local) Replace(ctx context.Context, id tenant.ID, keep bool) (kept string, err error) {
	arrival, data := filepath.Join(l.copies(id), arrivalName), l.dataDir(id)
	fail := func(err error) (string, error) {
		return "", fmt.Errorf("replace data of %s: %w", id, err)
	}
	if _, err := os.Lstat(arrival); err != nil {
		return fail(err)
	}
	if err := makeWay(filepath.Dir(data)); err != nil {
		return fail(err)
	}
	if err := os.Mkdir(data, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fail(err)
	}
	// At no moment there is none, or half of it (renameat2(2)).
	if err := unix.Renameat2(unix.AT_FDCWD, arrival, unix.AT_FDCWD, data, unix.RENAME_EXCHANGE); err != nil {
		return fail(err)
	}
	if err := syncDir(filepath.Dir(data)); err != nil {
		return fail(err)
	}
	if keep {
		if kept, err = l.keep(ctx, id, arrival); err != nil {
			return fail(err)
		}
	}
	return kept, l.removeCopy(id, arrivalName)
}

// keep moves what was replaced to where an operator finds it. The instance's limit on
// data does not count it any more.
func (l *Local) keep(ctx context.Context, id tenant.ID, old string) (string, error) {
	dir := filepath.Join(l.host.DataRoot, keptDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	kept := filepath.Join(dir, keptPrefix(id)+time.Now().UTC().Format(keptTime))
	if err := os.Rename(old, kept); err != nil {
		return "", err
	}
	if l.host.ProjectQuota {
		f, err := openDir(kept)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if err := l.makeProject(ctx, f, 0); err != nil {
			return "", err
		}
	}
	return kept, syncDir(dir)
}

// removeKept removes all that restores have kept of an instance's data.
func (l *Local) removeKept(id tenant.ID) error {
	dir := filepath.Join(l.host.DataRoot, keptDir)
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err = nil
	for _, entry := range entries {
		// What follows has to be a time: notes:alice-b is somebody else than notes:alice.
		at, ours := strings.CutPrefix(entry.Name(), keptPrefix(id))
		if _, bad := time.Parse(keptTime, at); ours && bad == nil {
			err = errors.Join(err, removeTree(filepath.Join(dir, entry.Name())))
		}
	}
	return err
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Discard removes what is left of the copies of an instance's data, or of all; see
// lifecycle.Unpacker.
func (l *Local) Discard(_ context.Context, id tenant.ID) error {
	dir := filepath.Join(l.host.DataRoot, copiesDir)
	if !id.IsZero() {
		dir = l.copies(id)
	}
	if err := removeTree(dir); err != nil {
		return fmt.Errorf("remove copies of data: %w", err)
	}
	return nil
}
