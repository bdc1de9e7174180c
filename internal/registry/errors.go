package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"tenement.dev/internal/tenant"
)

// resultCode gives SQLite's extended result code of err, 0 if it is none of SQLite's.
func resultCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// explain says what was attempted and, where a person can do something about it, what.
func (f file) explain(op string, id tenant.ID, err error) error {
	var known *tenant.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	code := resultCode(err)
	switch {
	case code&0xff == sqlite3.SQLITE_CORRUPT, code&0xff == sqlite3.SQLITE_NOTADB:
		return f.damaged(err)
	case code&0xff == sqlite3.SQLITE_FULL:
		return &tenant.Error{
			Code: tenant.CodeInternal, Op: op, ID: id, Err: err,
			Msg:  fmt.Sprintf("no space left to write the registry %s", f.path),
			Hint: "make room on that file system, and do it again",
		}
	case errors.Is(err, fs.ErrPermission),
		code&0xff == sqlite3.SQLITE_READONLY, code&0xff == sqlite3.SQLITE_PERM:
		return &tenant.Error{
			Code: tenant.CodeInternal, Op: op, ID: id, Err: err,
			Msg:  fmt.Sprintf("no permission to write the registry %s", f.path),
			Hint: "run ten as the user that owns the file, or choose another data_dir",
		}
	}
	if id.IsZero() {
		return fmt.Errorf("%s in registry %s: %w", op, f.path, err)
	}
	return fmt.Errorf("%s %s in registry %s: %w", op, id, f.path, err)
}

// damaged is the refusal of a file that cannot be trusted.
func (f file) damaged(cause error) error {
	hint := "stop ten and move the file away together with its -wal and -shm; "
	if bak := f.newestBackup(); bak != "" {
		hint += fmt.Sprintf("then copy %s to its place, or start with an empty registry", bak)
	} else {
		hint += "ten then starts with an empty registry, and the instances' data stays where it is"
	}
	return &tenant.Error{
		Code: tenant.CodeInternal, Op: "open registry", Err: cause,
		Msg:  fmt.Sprintf("the registry %s is damaged; it was left as it is", f.path),
		Hint: hint,
	}
}

// foreign is the refusal of another program's database.
func (f file) foreign() error {
	return &tenant.Error{
		Code: tenant.CodeConflict, Op: "open registry",
		Msg:  fmt.Sprintf("%s is a database of another program", f.path),
		Hint: "choose another data_dir, or move that file away",
	}
}

// newer is the refusal of a schema version that this program does not know.
func (f file) newer(version int) error {
	hint := "install the newer Tenement again"
	if bak := f.newestBackup(); bak != "" {
		hint += fmt.Sprintf(", or stop ten, move the file away together with its -wal and -shm, and copy %s to its place", bak)
	}
	return &tenant.Error{
		Code: tenant.CodeUnsupported, Op: "open registry",
		Msg: fmt.Sprintf("the registry %s was written by a newer Tenement (schema %d; this one knows up to %d)",
			f.path, version, len(f.migrations)),
		Hint: hint,
	}
}

// newestBackup is the path of the newest copy that this program can read, or empty.
func (f file) newestBackup() string {
	for version := len(f.migrations); version > 0; version-- {
		if bak := f.backupPath(version); exists(bak) {
			return bak
		}
	}
	return ""
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
