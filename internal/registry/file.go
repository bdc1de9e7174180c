package registry

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	sqlite3 "modernc.org/sqlite/lib"
)

// file is a registry's file and the schema that this program wants in it.
type file struct {
	path       string // absolute
	migrations []string
}

// open makes, checks and migrates the file, and gives the one connection to it.
func (f file) open(ctx context.Context) (_ *sql.DB, err error) {
	if err := f.create(); err != nil {
		return nil, err
	}
	version, err := f.inspect(ctx)
	if err != nil {
		return nil, err
	}
	db, err := f.connect(ctx, url.Values{"mode": {"rw"}, "_pragma": {
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "journal_size_limit(16777216)",
	}})
	if err != nil {
		return nil, err
	}
	if err := f.migrate(ctx, db, version); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// create makes the file and its directory where they are missing, for their owner
// only, and takes a file back from group and others. SQLite gives its -wal and -shm
// the mode of the file.
func (f file) create() error {
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	handle, err := os.OpenFile(f.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := handle.Stat()
	if err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o077 != 0 {
		err = handle.Chmod(0o600)
	}
	return errors.Join(err, handle.Close())
}

// connect opens the file, which exists, with SQLite's and the driver's parameters
// (sqlite.org/uri.html).
func (f file) connect(ctx context.Context, query url.Values) (*sql.DB, error) {
	query.Set("_txlock", "immediate")
	query["_pragma"] = append([]string{"busy_timeout(5000)"}, query["_pragma"]...)
	dsn := url.URL{Scheme: "file", Path: f.path, RawQuery: query.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // SQLite has one writer at a time; wait for it in Go
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// inspect gives the file's schema version, 0 for an empty file, or the reason to refuse
// it. It changes nothing, so it uses a connection that cannot write: a mere close of
// another one would move the write-ahead log into the file.
func (f file) inspect(ctx context.Context) (version int, err error) {
	info, err := os.Stat(f.path)
	if err != nil {
		return 0, err
	}
	if 0 < info.Size() && info.Size() < 512 { // the smallest page; SQLite would take it for empty
		return 0, f.damaged(fmt.Errorf("its size is %d bytes", info.Size()))
	}
	query := url.Values{"mode": {"ro"}}
	if !exists(f.path+"-wal") && !exists(f.path+"-journal") {
		query.Set("immutable", "1") // or SQLite would make a -wal to read the file
	}
	version, err = f.look(ctx, query)
	if resultCode(err) == sqlite3.SQLITE_READONLY_ROLLBACK {
		// Killed while the file was being made: SQLite takes back the half-made write.
		version, err = f.look(ctx, url.Values{"mode": {"rw"}})
	}
	return version, err
}

func (f file) look(ctx context.Context, query url.Values) (version int, err error) {
	db, err := f.connect(ctx, query)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()

	var verdict string
	if err := db.QueryRowContext(ctx, sqlQuickCheck).Scan(&verdict); err != nil {
		return 0, err
	}
	if verdict != "ok" {
		return 0, f.damaged(errors.New(verdict))
	}
	var application, objects int
	for query, dst := range map[string]*int{
		sqlApplicationID: &application, sqlVersion: &version, sqlCountObjects: &objects,
	} {
		if err := db.QueryRowContext(ctx, query).Scan(dst); err != nil {
			return 0, err
		}
	}
	switch {
	case application == 0 && version == 0 && objects == 0:
		return 0, nil
	case application != applicationID:
		return 0, f.foreign()
	case version > len(f.migrations):
		return 0, f.newer(version)
	}
	return version, nil
}

// migrate brings the schema from version to the newest, all steps or none.
func (f file) migrate(ctx context.Context, db *sql.DB, version int) error {
	if version == len(f.migrations) {
		return nil
	}
	if version > 0 {
		if err := f.backup(ctx, db, version); err != nil {
			return fmt.Errorf("copy before migration: %w", err)
		}
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // of no effect after Commit
	for i, step := range f.migrations[version:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("migrate to schema %d: %w", version+i+1, err)
		}
	}
	for _, step := range []string{
		fmt.Sprintf(sqlSetApplication, applicationID),
		fmt.Sprintf(sqlSetVersion, len(f.migrations)),
	} {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// backupPath is where the copy of a file of that version goes.
func (f file) backupPath(version int) string {
	return fmt.Sprintf("%s.v%d.bak", f.path, version)
}

// backup puts a copy of the file beside it; it takes the place of the copy that an
// earlier attempt to migrate from the same version left.
func (f file) backup(ctx context.Context, db *sql.DB, version int) error {
	temp := f.backupPath(version) + ".tmp"
	if err := f.copyTo(ctx, db, temp); err != nil {
		return err
	}
	defer os.Remove(temp) // of no effect after Rename
	if err := os.Rename(temp, f.backupPath(version)); err != nil {
		return err
	}
	return f.syncDir()
}
